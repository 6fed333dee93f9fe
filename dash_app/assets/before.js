// Runs before the first paint: the scheme chosen by hand, else the system's, so that a dark page is never white first.
(function () {
  let chosen = 'auto';
  try {
    chosen = localStorage.getItem('mantine-color-scheme-value') || 'auto';
  } catch (_) {
    // Storage is switched off: the system's scheme it is.
  }
  const dark = chosen === 'dark' || (chosen === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.mantineColorScheme = dark ? 'dark' : 'light';
  document.documentElement.dataset.agThemeMode = dark ? 'dark' : 'light';
})();

// Runs before the first paint. Starts to fetch what draws the curves, at once where there are some; and sets the scheme chosen by hand, else the system's, so that a dark page is never white first.
(function () {
  const link = document.createElement('link');
  const live = location.pathname.startsWith('/run/');
  Object.assign(link, { rel: live ? 'preload' : 'prefetch', as: 'script', href: document.currentScript.dataset.plotly });
  document.head.append(link);

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

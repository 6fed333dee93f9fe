// Browser-side parts of the callbacks: scheme, time zone, address and the pulse of a live page.
(function () {
  // Plotly's basic bundle draws all that this page has, and starts in a quarter of the time of the full one that
  // Dash would load from this address.
  const plotly = document.currentScript.dataset.plotly;
  Object.defineProperty(window, '_dashPlotlyJSURL', { get: () => plotly, set: () => {} });

  const same = () => window.dash_clientside.no_update;
  let pulse = {};

  function ping(prefix) {
    const asked = pulse;
    fetch('/livez', { cache: 'no-store' }).then(
      (response) => {
        if (asked.dead && response.ok) asked.again = true;
        asked.dead = !response.ok;
      },
      () => {
        asked.dead = true;
        window.dash_clientside.set_props(`${prefix}-offline`, { className: 'offline offline-dead' });
      },
    );
  }

  function pulseOf(prefix) {
    // A question is asked when the one before was answered, when the server came back, or after ten seconds.
    return (n, beat) => {
      if (n === 1 || beat !== pulse.beat) {
        pulse = { beat, missed: 0 };
        // A new page has asked by itself; asking again would throw that answer away.
        return [beat ? n : same(), 'offline'];
      }
      pulse.missed += 1;
      ping(prefix);
      const shown = pulse.dead ? 'offline offline-dead' : pulse.missed > 2 ? 'offline offline-slow' : 'offline';
      if (!pulse.again && pulse.missed % 10) return [same(), shown];
      pulse.again = false;
      return [n, shown];
    };
  }

  function address(text, days, simulated) {
    const query = new URLSearchParams();
    if (text) query.set('q', text);
    if (days && days !== '30') query.set('days', days);
    if (!simulated) query.set('simulated', 'hide');
    const search = query.toString();
    history.replaceState(history.state, '', location.pathname + (search ? `?${search}` : ''));
    return same();
  }

  // The attribute tells what is shown; the switch's own property says `light` first, whatever the system prefers.
  const root = document.documentElement;
  const scheme = () => (root.dataset.mantineColorScheme === 'dark' ? 'dark' : 'light');
  new MutationObserver(() => {
    if (root.dataset.agThemeMode === scheme()) return;
    root.dataset.agThemeMode = scheme();
    window.dash_clientside.set_props('scheme', { data: scheme() });
  }).observe(root, { attributes: true, attributeFilter: ['data-mantine-color-scheme'] });

  function zone() {
    return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
  }

  function title(path) {
    document.title = path && path.startsWith('/run/') ? `${decodeURIComponent(path.slice(5))} · kappawatt` : 'kappawatt';
    return same();
  }

  window.dash_clientside = Object.assign(window.dash_clientside || {}, {
    kw: { address, scheme, title, zone, ask_run: pulseOf('run'), ask_runs: pulseOf('runs') },
  });
})();

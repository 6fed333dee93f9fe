// What the list's cells show. React puts names in as text, so markup in a run's name stays text.
(function () {
  const two = (number) => String(number).padStart(2, '0');

  function kwTime(us) {
    if (us === null || us === undefined) return '–';
    const at = new Date(us / 1000);
    const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
  }

  function go(event, href) {
    // As dcc.Link does it: no reload, but Ctrl-click and middle click stay the browser's.
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    history.pushState({}, '', href);
    window.dispatchEvent(new CustomEvent('_dashprivate_pushstate'));
    window.scrollTo(0, 0);
  }

  function RunLink(props) {
    const href = `/run/${encodeURIComponent(props.data.run_id)}`;
    const link = React.createElement('a', { href, title: props.data.name, onClick: (event) => go(event, href), key: 'a' }, props.data.name);
    const tag = props.data.simulated && React.createElement('span', { className: 'tag', key: 'b' }, 'simulated');
    return React.createElement('span', { className: 'run-cell' }, link, tag);
  }

  function RunStatus(props) {
    const { status, silent } = props.data;
    const text = silent ? 'no data' : status;
    const style = silent ? 'silent' : ['running', 'succeeded', 'failed', 'lost'].includes(status) ? status : 'other';
    const lost = 'nothing came any more, and it never said that it stopped';
    const title = silent ? `${status}, but nothing came for some time` : status === 'lost' ? lost : status;
    return React.createElement('span', { className: `state state-${style}`, title }, text);
  }

  const functions = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
  functions.kwTime = kwTime;
  const components = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
  components.RunLink = RunLink;
  components.RunStatus = RunStatus;
})();

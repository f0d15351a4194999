// Browser code of all pages: the theme switch, copy buttons, lists that refresh themselves, parts
// that load later, and the live log. It needs no library. To refresh a part of a page, it loads the
// page again and takes that part from it.
(() => {
  'use strict';
  const root = document.documentElement;
  let stored = null;
  try { stored = localStorage.getItem('theme'); } catch { /* without storage, use the system's theme */ }
  if (stored === 'dark' || stored === 'light') root.dataset.theme = stored;

  function switchTheme() {
    const now = root.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
    root.dataset.theme = now === 'dark' ? 'light' : 'dark';
    try { localStorage.setItem('theme', root.dataset.theme); } catch { /* the theme then applies to this page only */ }
  }

  // The times on a page count on while nothing is loaded, by the clock of the server.
  const ahead = Date.parse(root.dataset.now) - Date.now();

  function showTimes() {
    if (document.hidden) return;
    for (const time of document.querySelectorAll('time[datetime]')) {
      const text = ago((Date.now() + ahead - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // ago and roughDuration are those of the server (functions.go).
  function ago(seconds) {
    if (seconds < -60) return 'in ' + roughDuration(-seconds);
    return seconds < 5 ? 'just now' : roughDuration(seconds) + ' ago';
  }

  function roughDuration(seconds) {
    if (seconds < 60) return Math.floor(seconds) + ' s';
    if (seconds < 3600) return Math.floor(seconds / 60) + ' min';
    if (seconds < 48 * 3600) return Math.floor(seconds / 3600) + ' h';
    return Math.floor(seconds / 86400) + ' days';
  }

  // showControls shows the controls in a new part of the page that need a script.
  function showControls(part) {
    for (const b of part.querySelectorAll('button.theme, button.copy, label.follow')) b.hidden = false;
  }

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch { // there is no clipboard without https
      const area = document.createElement('textarea');
      area.value = button.dataset.copy;
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
      button.focus();
    }
    button.classList.add('copied');
    setTimeout(() => button.classList.remove('copied'), 1200);
  }

  // loadPart loads this page again, or another page, and returns the element with the id. It returns null after an
  // error, and if the element still has the version.
  async function loadPart(id, from = location.href, version = '') {
    const headers = { 'X-Part': id };
    if (version) headers['If-None-Match'] = `"${version}"`;
    const reply = await fetch(from, { headers, redirect: 'error' });
    if (!reply.ok) return null;
    return new DOMParser().parseFromString(await reply.text(), 'text/html').getElementById(id);
  }

  // refresh replaces the element with a new one every data-refresh seconds.
  function refresh(element) {
    const seconds = Number(element.dataset.refresh);
    if (!seconds) return;
    setTimeout(async () => {
      let fresh = null;
      if (!document.hidden && !element.contains(document.activeElement)) {
        try { fresh = await loadPart(element.id, location.href, element.dataset.version); } catch { /* retried at the next refresh */ }
      }
      if (!fresh) return refresh(element);
      removeNotice(element, fresh);
      showNextAttempt(fresh);
      if (content(fresh) !== content(element) || fresh.dataset.refresh !== element.dataset.refresh) {
        element.replaceWith(fresh);
        showControls(fresh);
        return refresh(fresh);
      }
      element.dataset.version = fresh.dataset.version || '';
      refresh(element);
    }, seconds * 1000);
  }

  // content returns the markup of an element without the keys of its forms, which differ each time.
  const content = (element) => element.innerHTML.replace(/(name="key" value=")[^"]*/g, '$1');

  // removeNotice removes the notice of the page when the state changes.
  function removeNotice(element, fresh) {
    if (fresh.dataset.state !== element.dataset.state) document.querySelector('.notice')?.remove();
  }

  // clearNoticeURL removes the notice from the address, so that a reload does not show it again.
  function clearNoticeURL() {
    const here = new URL(location.href);
    if (!here.searchParams.has('done')) return;
    here.searchParams.delete('done');
    history.replaceState(null, '', here);
  }

  // fill replaces an element with one from a page that takes long to load. Meanwhile it shows the
  // note of the element instead of its link. If loading fails, it shows the link again.
  async function fill(element) {
    const toggle = () => { for (const child of element.children) child.hidden = !child.hidden; };
    toggle();
    const fresh = await loadPart(element.id, element.dataset.from).catch(() => null);
    if (fresh) element.replaceWith(fresh);
    else toggle();
  }

  function follow(log) {
    const body = log.querySelector('.log-body');
    const box = log.querySelector('.follow input');
    const down = () => { if (box.checked) body.scrollTop = body.scrollHeight; };
    const stream = new EventSource(log.dataset.stream);
    stream.addEventListener('lines', (event) => {
      body.querySelector('.log-note:not(:has(a))')?.remove();
      body.insertAdjacentHTML('beforeend', event.data); // escaped by the server, line for line
      down();
    });
    stream.addEventListener('end', async () => {
      stream.close();
      const fresh = await loadPart('log').catch(() => null);
      if (fresh && !box.checked) return; // the user scrolled up to read: change nothing
      if (fresh) {
        log.replaceWith(fresh);
        showControls(fresh);
        const end = fresh.querySelector('.log-body');
        end.scrollTop = end.scrollHeight;
      }
    });
    body.addEventListener('wheel', () => { box.checked = body.scrollHeight - body.scrollTop - body.clientHeight < 40; }, { passive: true });
    box.addEventListener('change', down);
    down();
  }

  // showNextAttempt shows the log of the next attempt after it has started.
  async function showNextAttempt(head) {
    const log = document.getElementById('log');
    if (!head.dataset.attempt || !log || head.dataset.attempt === log.dataset.attempt) return;
    log.dataset.attempt = head.dataset.attempt; // load it once
    const fresh = await loadPart('log').catch(() => null);
    if (!fresh) { log.dataset.attempt = ''; return; } // retried at the next refresh
    log.replaceWith(fresh);
    showControls(fresh);
    if (fresh.dataset.stream) follow(fresh);
  }

  // reveal opens the step with the line in the address and scrolls to it.
  function reveal() {
    if (!/^#L\d+$/.test(location.hash)) return;
    const line = document.getElementById(location.hash.slice(1));
    const fold = line?.closest('details');
    if (fold) fold.open = true;
    line?.scrollIntoView({ block: 'center' });
  }

  document.addEventListener('click', (event) => {
    const button = event.target.closest?.('button');
    if (button?.matches('.theme')) switchTheme();
    if (button?.matches('.copy')) copy(button);
    for (const menu of document.querySelectorAll('details.menu[open]')) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    for (const menu of document.querySelectorAll('details.menu[open]')) menu.open = false;
  });
  addEventListener('hashchange', reveal);
  addEventListener('DOMContentLoaded', () => {
    showControls(document);
    clearNoticeURL();
    setInterval(showTimes, 5000);
    for (const element of document.querySelectorAll('[data-refresh]')) refresh(element);
    for (const element of document.querySelectorAll('[data-from]')) fill(element);
    const log = document.querySelector('[data-stream]');
    if (log) follow(log);
    const why = document.querySelector('[data-end] .log-body'); // the error is at the end
    if (why && !location.hash) why.scrollTop = why.scrollHeight;
    document.querySelector('.faults')?.focus();
    reveal();
  });
})();

// Finds elements as a person does: by visible name, not by selector.
const words = (text) => (text || '').trim().replace(/\s+/g, ' ');
const shown = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility === 'visible' && !e.closest('[aria-hidden=true]');
const person = {
  // sees reports whether the visible text of the page contains a text.
  sees: (text) => words(document.body.innerText).includes(words(text)),

  // find scrolls to the link or button with a name, and returns the point to click. It returns null
  // if there is no such element, or if another element covers it.
  find: (name) => {
    const named = [...document.querySelectorAll('a, button, summary')].filter((e) => shown(e) && words(e.getAttribute('aria-label') || e.innerText) === name);
    const target = named.find((e) => e.closest('main')) || named[0];
    if (!target || target.disabled) return null;
    const inside = (r) => r.top >= 0 && r.bottom <= innerHeight;
    if (!inside(target.getBoundingClientRect())) target.scrollIntoView({ block: 'center', behavior: 'instant' });
    const r = target.getClientRects()[0];
    const [x, y] = [r.left + r.width / 2, r.top + r.height / 2];
    const top = document.elementFromPoint(x, y);
    return top && (target.contains(top) || top.contains(target)) ? [x, y] : null;
  },

  // focus focuses the field with a label and selects its text. If a legend is given, the field must
  // be in that group.
  focus: (legend, label) => {
    const group = legend ? [...document.querySelectorAll('legend')].find((l) => words(l.textContent) === legend)?.closest('fieldset') : document;
    const field = [...(group?.querySelectorAll('label') || [])].find((l) => shown(l) && words(l.innerText) === label)?.control;
    if (!field) return false;
    field.scrollIntoView({ block: 'center', behavior: 'instant' });
    field.focus();
    field.select?.();
    return document.activeElement === field;
  },
};

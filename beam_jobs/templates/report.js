/* The page's filter. Its state is kept in the address, after "#", so that a view can be
   shared. Values of a catalogue are compared as strings and written as text only; none
   ever becomes part of a selector or of markup. */
(() => {
  "use strict";
  const find = (id) => document.getElementById(id);
  const bar = find("filter");
  if (!bar) return;
  const selects = { category: find("filter-category"), scene: find("filter-scene") };
  const attention = find("filter-attention");
  const status = find("filter-status");
  const entries = [...document.querySelectorAll("[data-entry]")];
  const sections = [...new Set(entries.map((entry) => entry.closest("section")))];

  const isChosen = (entry) =>
    Object.entries(selects).every(
      ([name, select]) => !select.value || select.value === entry.dataset[name]);

  function show(unknown) {
    for (const entry of entries) entry.hidden = !isChosen(entry);
    for (const section of sections) {
      const none = section.querySelector("[data-none]");
      if (none) none.hidden = Boolean(section.querySelector("[data-entry]:not([hidden])"));
    }
    const shown = entries.filter((entry) => !entry.hidden).length;
    status.textContent = `${shown} of ${entries.length} entries are shown.` +
      unknown.map((name) => ` The ${name} of this link is not in this report.`).join("");
  }

  function remember() {
    const state = new URLSearchParams();
    for (const [name, select] of Object.entries(selects)) {
      if (select.value) state.set(name, select.value);
    }
    if (attention && attention.checked) state.set("attention", "on");
    history.replaceState(null, "", `#${state}`);
    show([]);
  }

  function restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    const isView = ["category", "scene", "attention"].some((name) => state.has(name));
    if (location.hash.length > 1 && !isView) return show([]); // a link to a section
    const unknown = [];
    for (const [name, select] of Object.entries(selects)) {
      const wanted = state.get(name) ?? "";
      const option = [...select.options].find((each) => each.value === wanted);
      if (!option) unknown.push(name);
      select.value = option ? wanted : "";
    }
    if (attention) attention.checked = state.get("attention") === "on";
    show(unknown);
    if (isView) find("gallery").scrollIntoView();
  }

  for (const select of Object.values(selects)) select.addEventListener("change", remember);
  if (attention) attention.addEventListener("change", remember);
  find("filter-reset").addEventListener("click", () => {
    for (const select of Object.values(selects)) select.value = "";
    remember();
    selects.category.focus();
  });
  addEventListener("hashchange", restore);
  bar.hidden = false;
  restore();
})();

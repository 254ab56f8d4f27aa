/** Sorts a table by a column; rows that say nothing there stay last. */
function sortBy(table, header) {
  const column = [...header.parentElement.children].indexOf(header);
  const numbers = header.classList.contains("number");
  const before = header.getAttribute("aria-sort");
  const descending = before === "none" ? numbers : before === "ascending";
  const key = (row) => {
    const cell = row.children[column];
    if (!numbers) return cell.textContent.trim();
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const order = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const sign = numbers ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return descending ? -sign : sign;
  };
  const body = table.tBodies[0];
  body.append(...[...body.rows].map((row) => [key(row), row]).sort((a, b) => order(a[0], b[0])).map(([, row]) => row));
  for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.querySelectorAll("th[aria-sort]")) {
    header.querySelector("button").addEventListener("click", () => sortBy(table, header));
  }
}

/** Marks in the contents where the reader is. */
function followReader() {
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set();
  const watch = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) seen[isIntersecting ? "add" : "delete"](target.id);
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) {
      if (id === first) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-10% 0px -60% 0px" });
  for (const id of links.keys()) watch.observe(document.getElementById(id));
}

if (data.series !== null) startThreshold(data.series);
drawAll();
followReader();

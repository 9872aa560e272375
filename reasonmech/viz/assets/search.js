const rows = [...document.querySelectorAll("#features tbody tr")];
const find = document.getElementById("find"), shown = document.getElementById("shown");
function filter() {
  const words = (find.value.toLowerCase().match(/"[^"]*"?|[^\s"]+/g) ?? []).map(word => word.replaceAll('"', ""));
  let n = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const keep = words.every(word => text.includes(word));
    row.hidden = !keep;
    n += keep;
  }
  shown.textContent = n + " of " + rows.length;
}
find.addEventListener("input", filter);
filter();

#include "attune/evaluation/page_style.h"

namespace attune {

const std::string_view kPageStyle = R"css(
:root {
  --page: #fcfbf8; --ink: #1c2327; --quiet: #566168; --line: #e2dfd7; --soft: #f1eee7;
  --accent: #1f6f8b; --bar: #5b9fb8; --wrong: #b04a14; --wrong-fill: #d9763c; --before: #47525a; --floor: #8a6d1f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181b; --ink: #e8e6e0; --quiet: #a5afb5; --line: #2d353a; --soft: #20272b;
    --accent: #74bdd6; --bar: #3f88a3; --wrong: #f0985f; --wrong-fill: #d9763c; --before: #d5dade; --floor: #d9b95c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 68rem; padding: 3rem 1.5rem 5rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif;
  overflow-wrap: break-word; -webkit-text-size-adjust: 100%;
}
h1 { font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -.02em; font-weight: 650; margin: .2rem 0 .5rem; }
h2 { font-size: 1.3rem; line-height: 1.3; letter-spacing: -.01em; font-weight: 620; margin: 0 0 .6rem; }
h3 { font-size: 1rem; font-weight: 620; margin: 1.6rem 0 .6rem; }
p { max-width: 44rem; margin: .4rem 0 1rem; }
a { color: var(--accent); text-underline-offset: .2em; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 2px; }
section { margin-top: 3.6rem; }
.overline { font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; color: var(--quiet); margin: 0; }
.facts, .note { color: var(--quiet); }
.note { font-size: .88rem; }
nav ul { list-style: none; margin: 1.4rem 0 0; padding: .7rem 0; display: flex; flex-wrap: wrap; gap: .3rem 1.4rem;
  border-block: 1px solid var(--line); font-size: .9rem; }
.lead { font-size: 1.15rem; line-height: 1.5; margin: 1.6rem 0 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1.6rem; margin: 2rem 0 0; }
.tiles dt { font-size: .88rem; color: var(--quiet); }
.tiles dd { margin: 0; font-variant-numeric: tabular-nums; }
.tiles dd.big { font-size: 2.1rem; line-height: 1.25; font-weight: 600; letter-spacing: -.02em; }
.tiles dd.small { font-size: .84rem; color: var(--quiet); }
.tiles .main dd.big { color: var(--accent); }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); font-size: .88rem; padding-bottom: .5rem; max-width: 44rem; }
th, td { text-align: left; font-weight: 400; padding: .42rem .9rem .42rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--quiet); font-size: .82rem; vertical-align: bottom; }
.num { text-align: right; white-space: nowrap; }
th button { all: unset; cursor: pointer; text-decoration: underline dotted; text-underline-offset: .25em; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
tr.top th:first-child, tr.top td strong { font-weight: 620; }
tr.group th:first-child { padding-left: 1.1rem; color: var(--quiet); }
tr.group th, tr.group td { padding-block: .22rem; border-bottom-color: color-mix(in srgb, var(--line) 45%, transparent); }
.sub { display: block; font-size: .8rem; color: var(--quiet); font-weight: 400; line-height: 1.3; }
.tag { font-size: .74rem; color: var(--quiet); border: 1px solid var(--line); border-radius: 9px; padding: 0 .45rem; margin-left: .4rem; white-space: nowrap; font-weight: 400; }
.tag.new { color: var(--accent); border-color: currentColor; }
.up { color: var(--accent); } .down { color: var(--wrong); }
.bars .plotted { width: 38%; min-width: 7rem; }
.classes th, .classes td { padding-block: .16rem; border-bottom-color: color-mix(in srgb, var(--line) 50%, transparent); }
.track, .axis { position: relative; display: block; height: 1rem; min-width: 6rem; }
.track { background: var(--soft); border-radius: 2px; }
.axis span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.axis span:first-child { transform: none; } .axis span:last-child { transform: translateX(-100%); }
.track i { position: absolute; }
.track .value { left: 0; top: .2rem; bottom: .2rem; background: var(--bar); border-radius: 0 2px 2px 0; }
.track .interval { top: calc(50% - .5px); height: 1px; background: var(--ink); opacity: .75; }
.track .before { top: calc(50% - .3rem); width: .6rem; height: .6rem; margin-left: -.3rem; border-radius: 50%; border: 2px solid var(--before); background: var(--page); }
.track .floor { top: -.1rem; bottom: -.1rem; width: 0; border-left: 2px dotted var(--floor); margin-left: -1px; }
.key { list-style: none; padding: 0; margin: .2rem 0 1rem; display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; font-size: .84rem; color: var(--quiet); }
.key .track { display: inline-block; width: 1.6rem; min-width: 0; height: .9rem; margin-right: .45rem; background: none; vertical-align: -.12rem; }
.key .track .before { left: 50%; } .key .track .floor { left: 50%; } .key .track .interval { left: 0; right: 0; } .key .track .value { right: 0; }
.key svg { width: 1.6rem; height: .8rem; margin-right: .45rem; vertical-align: -.05rem; overflow: visible; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 2rem 3rem; }
figure { margin: 0; }
figcaption { font-size: .92rem; margin-bottom: .3rem; }
.plot { position: relative; margin: .8rem .6rem 2.9rem 3.2rem; height: 15rem; }
.plot.square { aspect-ratio: 1; height: auto; max-width: 24rem; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot svg * { vector-effect: non-scaling-stroke; }
.plot span { position: absolute; font-size: .78rem; line-height: 1; color: var(--quiet); font-variant-numeric: tabular-nums; white-space: nowrap; }
.plot .y { right: calc(100% + .5rem); transform: translateY(50%); }
.plot .x { top: calc(100% + .5rem); transform: translateX(-50%); }
.plot .x-name { top: calc(100% + 1.7rem); left: 50%; transform: translateX(-50%); }
.grid { stroke: var(--line); stroke-width: 1; } .base { stroke: var(--quiet); stroke-width: 1; }
.ideal { stroke: var(--quiet); stroke-width: 1.2; stroke-dasharray: 4 4; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.dot { stroke-width: 7; stroke-linecap: round; }
.hit { stroke: transparent; stroke-width: 14; stroke-linecap: round; }
.series-0 { stroke: var(--accent); } .series-1 { stroke: var(--wrong-fill); stroke-dasharray: 7 4; } .series-2 { stroke: var(--floor); stroke-dasharray: 2 4; } .series-3 { stroke: var(--quiet); stroke-dasharray: 9 3 2 3; }
.band { stroke: none; opacity: .16; } .band.series-0 { fill: var(--accent); } .band.series-1 { fill: var(--wrong-fill); } .band.series-2 { fill: var(--floor); } .band.series-3 { fill: var(--quiet); }
.dot { stroke-dasharray: none; }
.bin { fill: var(--bar); } .gap { fill: none; stroke: var(--wrong-fill); stroke-width: 2; }
.scroll { overflow-x: auto; padding-bottom: .5rem; }
.heat text { fill: var(--quiet); font-size: 11px; } .heat .frame { fill: var(--soft); }
.heat .right { fill: var(--accent); } .heat .false { fill: var(--wrong-fill); } .heat rect:hover { stroke: var(--ink); }
.heat .rule { stroke: var(--page); stroke-width: 1; }
.heat .number { font-size: 10px; fill: var(--ink); text-anchor: middle; } .heat .turned { fill: var(--page); }
.study th:first-child { position: sticky; left: 0; background: var(--page); padding-right: 1.2rem; }
.study { width: auto; min-width: 60%; margin-bottom: 1.4rem; }
.confusions { max-width: 46rem; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.2rem, 1fr)); gap: 1.4rem 1rem; padding: 0; margin: 0; list-style: none; }
.sheet li { font-size: .82rem; line-height: 1.35; }
.sheet img, .sheet .lost { width: 100%; height: auto; aspect-ratio: 1; object-fit: contain; background: #fff; border: 1px solid var(--line); border-radius: 6px; display: block; margin-bottom: .4rem; padding: .4rem; }
.sheet .lost { display: grid; place-items: center; background: var(--soft); color: var(--quiet); text-align: center; }
.sheet .answer { font-weight: 600; } .sheet .no { color: var(--wrong); } .sheet .yes { color: var(--accent); }
.words { margin-bottom: 1.4rem; } .words th:first-child { white-space: nowrap; } .words small { color: var(--quiet); font-size: .8rem; margin-right: .5rem; }
.scatter { width: 100%; max-width: 46rem; height: auto; } .scatter .frame { fill: var(--soft); } .scatter text { fill: var(--ink); font-size: 12px; }
.mark-0 { fill: var(--accent); } .mark-1 { fill: var(--wrong-fill); } .mark-2 { fill: var(--floor); } .mark-3 { fill: var(--before); } .mark-4 { fill: #9a6bc0; } .mark-5 { fill: #4f9a56; }
.scatter .label { stroke: var(--ink); stroke-width: 1.5; }
.cells { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.2rem, 1fr)); gap: 1rem; margin-bottom: 1.6rem; }
.cells svg { width: 100%; height: auto; display: block; background: #fff; border: 1px solid var(--line); border-radius: 4px; }
.cells .veil { fill: #10161a; } .cells figcaption { font-size: .8rem; color: var(--quiet); margin: .2rem 0 0; }
details { border-bottom: 1px solid var(--line); padding: .6rem 0; }
summary { cursor: pointer; }
pre { overflow-x: auto; background: var(--soft); padding: .9rem 1rem; border-radius: 6px; font: .84rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
code { font: .9em ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; overflow-wrap: anywhere; }
.provenance { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.6rem; margin: 0 0 1.4rem; font-size: .92rem; }
.provenance dt { color: var(--quiet); } .provenance dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--quiet); font-size: .84rem; }
@media (max-width: 44rem) {
  body { padding: 1.8rem 1rem 3rem; }
  section { margin-top: 2.8rem; }
  .wide { display: none; }
  .scroll caption { position: sticky; left: 0; max-width: calc(100vw - 2rem); }
  table { font-size: .86rem; } th, td { padding-right: .55rem; }
  .domains .plotted { display: none; }
  .bars .plotted { width: 30%; min-width: 4.5rem; } .track, .axis { min-width: 4.5rem; }
  .axis span:not(:first-child):not(:last-child) { display: none; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 1.3rem; } .tiles dd.big { font-size: 1.7rem; }
  .provenance { grid-template-columns: 1fr; gap: 0; } .provenance dd { margin-bottom: .6rem; }
  .plot { height: 12rem; margin-left: 2.7rem; }
}
@media print { details { display: none; } section { break-inside: avoid-page; } }
)css";

const std::string_view kPageScript = R"js(
for (const table of document.querySelectorAll('table')) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, i) => {
    if (!head.dataset.sort) return;
    const button = document.createElement('button');
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const up = head.getAttribute('aria-sort') === 'descending' || (head.dataset.sort === 'text' && !head.ariaSort);
      const value = row => head.dataset.sort === 'text' ? row.cells[i].textContent : Number(row.cells[i].dataset.value);
      const order = (a, b) => head.dataset.sort === 'text' ? value(a).localeCompare(value(b)) : value(a) - value(b);
      heads.forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      body.append(...[...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)));
    };
  });
}
)js";

}  // namespace attune

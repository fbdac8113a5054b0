/**
 * The page's style. Every colour is a variable with a light and a dark value; the four series colours stay apart under the
 * common forms of colour blindness and have a contrast of at least 4.5 to the paper, because names are written in them.
 */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fdfcfa; --raised: #f3f1ec; --ink: #1b1d22; --ink-2: #5b606b; --grid: #e7e4dd; --axis: #b4b1a9;
  --blue: #0b62b8; --red: #bb4a08; --green: #04785c; --purple: #9a3f86; --gold: #8a6400; --neutral: #cfccc4;
  --ramp-from: #e3edf8; --ramp-to: #063a73; --on-from: #1b1d22; --on-to: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171b; --raised: #202329; --ink: #ecebe7; --ink-2: #a6a9b1; --grid: #2b2f36; --axis: #565b65;
    --blue: #63aef5; --red: #f2935a; --green: #3cc7a2; --purple: #e093cf; --gold: #dfb64a; --neutral: #4a4f59;
    --ramp-from: #19242f; --ramp-to: #8cc6ff; --on-from: #ecebe7; --on-to: #10151c;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
main, header, nav, footer { max-width: 960px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 56px; }
.kicker { color: var(--ink-2); font-size: 14px; margin: 0 0 12px; }
h1 { font-size: clamp(25px, 4.2vw, 37px); line-height: 1.18; letter-spacing: -0.015em; font-weight: 650; margin: 0 0 18px;
  max-width: 24em; text-wrap: balance; }
h2 { font-size: 24px; line-height: 1.25; letter-spacing: -0.01em; margin: 0 0 6px; }
h3 { font-size: 15px; margin: 22px 0 6px; }
h4 { font-size: 14px; margin: 6px 0 0; font-weight: 500; color: var(--ink-2); }
.lede { max-width: 44em; margin: 0 0 6px; }
.goal { font-size: 14px; font-weight: 600; }
.goal.met { color: var(--green); } .goal.missed { color: var(--red); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 20px 24px; margin: 30px 0 0; padding: 22px 0; list-style: none;
  border-block: 1px solid var(--grid); }
.numbers b { display: block; font-size: 34px; line-height: 1.1; font-weight: 650; letter-spacing: -0.02em; }
.numbers span { color: var(--ink-2); font-size: 14px; }
nav { font-size: 14px; margin-top: 22px; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 0; list-style: none; }
a { color: inherit; text-underline-offset: 3px; text-decoration-color: var(--axis); }
.chapter { margin-top: 72px; padding-top: 28px; border-top: 3px solid var(--ink); }
.chapter > h2 { line-height: 1.2; margin-bottom: 14px; max-width: 24em; text-wrap: balance; font-size: clamp(23px, 3.4vw, 31px); }
section { margin-top: 64px; }
section > p { max-width: 44em; margin: 0 0 10px; }
figure { margin: 18px 0 34px; break-inside: avoid; }
figcaption, .caption { color: var(--ink-2); font-size: 14px; max-width: 50em; margin: 8px 0 0; }
.none { color: var(--ink-2); font-style: italic; border-left: 3px solid var(--grid); padding: 4px 0 4px 14px; }
svg.plot { display: block; width: 100%; height: auto; overflow: visible; font-family: inherit; font-variant-numeric: tabular-nums; }
svg.plot text { white-space: pre; }
.narrow { display: none; }
.missing { color: var(--ink-2); font-size: 14px; margin-top: 64px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 8px 0 4px; padding: 0; list-style: none; font-size: 13px; font-weight: 600; line-height: 1.4; }
.legend i { display: inline-block; width: 22px; margin-right: 6px; vertical-align: middle; border-top: 3px solid currentColor; }
.legend i.dashed { border-top-style: dashed; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 8px 24px; }
.strip img { width: 100%; height: auto; border-radius: 3px; } .strip small { display: block; color: var(--ink-2); font-size: 12px; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, 218px); gap: 18px 14px; }
.strip p { font-size: 13px; margin: 0 0 4px; color: var(--ink-2); overflow-wrap: anywhere; }
.strip b { color: var(--ink); }
.scroll { overflow-x: auto; margin: 12px 0; background:
  linear-gradient(to right, var(--paper) 40%, transparent) left / 40px 100% no-repeat local,
  linear-gradient(to left, var(--paper) 40%, transparent) right / 40px 100% no-repeat local,
  linear-gradient(to right, var(--axis), transparent) left / 10px 100% no-repeat scroll,
  linear-gradient(to left, var(--axis), transparent) right / 10px 100% no-repeat scroll; }
.hint { font-size: 13px; color: var(--ink-2); text-align: right; margin: 12px 0 -8px; max-width: none; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { text-align: right; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
td { white-space: nowrap; } .text { text-align: left; }
th:first-child, td:first-child { text-align: left; }
thead th { font-weight: 500; color: var(--ink-2); vertical-align: bottom; border-bottom-color: var(--axis); }
tbody th { font-weight: 500; white-space: nowrap; }
code { font: 12px/1.5 ui-monospace, "SF Mono", Menlo, "Liberation Mono", monospace; overflow-wrap: anywhere; }
details { margin: 10px 0; } summary { cursor: pointer; font-size: 14px; color: var(--ink-2); }
.key { font-size: 13px; color: var(--ink-2); margin: 0 0 10px; display: flex; align-items: center; gap: 7px; flex-wrap: wrap; }
.key i { width: 96px; height: 11px; border-radius: 2px; }
.key i.square { width: 12px; background: var(--neutral); margin-left: 12px; }
.key i.dot, .key i.ring { width: 11px; height: 11px; border-radius: 50%; background: var(--blue); }
.key i.ring { background: none; border: 1.5px solid var(--ink); } .key i.dot { margin-left: 10px; }
.bar { margin: 0 0 16px; break-inside: avoid; } .bar p { margin: 0 0 4px; font-size: 14px; }
.bar p span { color: var(--ink-2); display: block; }
.parts { display: flex; flex-wrap: wrap; gap: 0 16px; font-size: 13px; } .bar .parts span { display: inline; }
.parts b { color: var(--ink); }
.stack { display: flex; gap: 2px; height: 18px; }
.stack span { flex: 0 1 0; min-width: 0; border-radius: 2px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(108px, 1fr)); gap: 22px 16px; padding: 0; margin: 12px 0;
  list-style: none; font-size: 13px; line-height: 1.4; }
.pictures li > * { display: block; } .pictures li { break-inside: avoid; }
.pictures img { image-rendering: pixelated; border-radius: 3px; margin-bottom: 6px; }
.broken { width: 96px; height: 96px; background: var(--raised); color: var(--ink-2); padding: 36px 8px; margin-bottom: 6px; }
.words { display: block; text-align: left; white-space: normal; min-width: 15em; } .open { color: var(--ink-2); }
.right { color: var(--green); } .wrong { color: var(--red); } .pictures small { color: var(--ink-2); font-size: 12px; }
dl { max-width: 50em; } dt { font-weight: 600; font-size: 15px; } dd { margin: 0 0 12px; color: var(--ink-2); font-size: 15px; }
.hashes dt { font-weight: 500; font-size: 13px; } .hashes dd { margin: 0 0 6px; }
.pairs { font-size: 13px; display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 8px 0; }
.pairs dt, .pairs dd { font-size: 13px; margin: 0; overflow-wrap: anywhere; } .pairs dt { font-weight: 500; }
.pairs dd { min-width: 0; color: var(--ink-2); }
footer { color: var(--ink-2); font-size: 13px; padding-top: 40px; padding-bottom: 60px; }
@media (max-width: 719px) {
  .wide { display: none; } .narrow { display: block; max-width: 480px; }
  header { padding-top: 32px; } section { margin-top: 48px; } .numbers b { font-size: 27px; }
  tbody th { white-space: normal; min-width: 9em; }
  table { font-size: 13px; } th, td { padding-right: 12px; }
  .strip { display: flex; overflow-x: auto; padding-bottom: 8px; } .strip > div { flex: 0 0 218px; }
}
@media print {
  :root { --paper: #fff; --raised: #f3f1ec; --ink: #000; --ink-2: #444; --grid: #ddd; --axis: #999; --blue: #0b62b8;
    --red: #bb4a08; --green: #04785c; --purple: #9a3f86; --gold: #8a6400; --neutral: #cfccc4; --ramp-from: #e3edf8;
    --ramp-to: #063a73; --on-from: #000; --on-to: #fff; }
  body { font-size: 11pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .wide { display: block; } .narrow, nav { display: none; } .scroll { overflow: visible; }
  h2, h3, h4 { break-after: avoid; } section { margin-top: 32px; } .strip { display: grid; }
}
`;

"""The pages' style: light and dark, screen and paper, wide and narrow."""

STYLE = """
:root{color-scheme:light dark;--ink:#16202b;--soft:#5b6875;--line:#e2e7ed;--ground:#f5f7f9;
--card:#fff;--sunk:#f3f6f9;--accent:#2f6fde;--good:#17804a;--bad:#c0263a;--fair:#9a6700;
--ours:#6741c4;--good-bg:#e6f5ec;--bad-bg:#fdecee;--fair-bg:#fdf4de;--ours-bg:#f0ebfd;
--shadow:0 1px 2px rgba(20,32,44,.05),0 4px 16px rgba(20,32,44,.05)}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e8edf2;--soft:#98a5b3;--line:#2a3541;
--ground:#0f151c;--card:#161e27;--sunk:#1c2630;--accent:#6ea2ff;--good:#5fcf92;--bad:#ff8492;
--fair:#e3b341;--ours:#b79cff;--good-bg:#13301f;--bad-bg:#3a1a20;--fair-bg:#33290f;
--ours-bg:#271f42;--shadow:none}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.55 Inter,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1060px;margin:0 auto;padding:44px 28px 72px}
main.narrow{max-width:860px}
h1{font-size:32px;line-height:1.2;letter-spacing:-.02em;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:20px;letter-spacing:-.01em;margin:0 0 4px}
h3{font-size:16px;margin:0}
p{margin:4px 0}
a{color:var(--accent);text-decoration:none}
a:hover{text-decoration:underline}
code,pre{font:13.5px/1.5 "JetBrains Mono",ui-monospace,SFMono-Regular,Menlo,Consolas,
"DejaVu Sans Mono",monospace}
pre{margin:8px 0;padding:10px 14px;background:var(--sunk);border-radius:8px;white-space:pre-wrap;
overflow-wrap:anywhere}
section{margin-top:44px}
.soft{color:var(--soft)}
.small{font-size:14px}
.right{text-align:right}
.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.eyebrow{color:var(--soft);font-size:13px;letter-spacing:.06em;text-transform:uppercase;margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:12px;padding:0;
margin:24px 0 0;list-style:none}
.tiles li,.card{background:var(--card);border:1px solid var(--line);border-radius:14px;
box-shadow:var(--shadow)}
.tiles li{padding:14px 16px;color:var(--soft);font-size:14px;line-height:1.35}
.tiles b{display:block;font-size:27px;line-height:1.25;color:var(--ink);letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.card{padding:20px 22px;margin-top:14px}
.head{display:flex;gap:16px;align-items:baseline;justify-content:space-between;flex-wrap:wrap}
.score{font-size:23px;font-weight:650;letter-spacing:-.02em;white-space:nowrap;
font-variant-numeric:tabular-nums}
.score small{font-size:15px;font-weight:400;color:var(--soft);letter-spacing:0}
.tag{display:inline-block;font-size:13px;font-weight:600;line-height:1.4;padding:1px 9px;
border-radius:99px;white-space:nowrap;color:var(--bad);background:var(--bad-bg)}
.tag.good{color:var(--good);background:var(--good-bg)}
.tag.fair{color:var(--fair);background:var(--fair-bg)}
.tag.ours{color:var(--ours);background:var(--ours-bg)}
.tag.plain{color:var(--soft);background:var(--sunk)}
.meter{display:block;width:100%;height:8px;border-radius:4px;margin:8px 0}
.track{fill:var(--line)}
.fill{fill:var(--accent)}.fill.good{fill:var(--good)}.fill.bad{fill:var(--bad)}
.fill.fair{fill:var(--fair)}.fill.ours{fill:var(--ours)}
.bars{display:block;width:100%;height:auto;margin-top:10px}
.bars text{fill:var(--soft);font-size:15px;text-anchor:middle}
.bars text.count{fill:var(--ink);font-weight:600}
.spark{display:block;width:110px;height:24px}
.function{margin-top:22px;padding-top:16px;border-top:1px solid var(--line)}
.chips{display:flex;flex-wrap:wrap;gap:6px;padding:0;margin:10px 0 0;list-style:none}
.chips li{font-size:14px;line-height:1.45;padding:2px 10px;border-radius:8px;
border:1px solid var(--line);background:var(--sunk)}
.chips li::before{font-weight:700;margin-right:6px;content:"\\2713";color:var(--good)}
.chips li.bad::before{content:"\\2717";color:var(--bad)}
.chips li.fair::before{content:"!";color:var(--fair)}
.chips li.ours::before{content:"?";color:var(--ours)}
.hint{border-left:4px solid var(--fair);background:var(--fair-bg);border-radius:0 10px 10px 0;
padding:12px 16px;margin:14px 0 0}
.hint b{display:block}
.case{margin-top:18px;break-inside:avoid}
.case .soft{overflow-wrap:anywhere}
.example{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:12px 0 0;
padding:12px 16px;background:var(--sunk);border-radius:10px}
.example dt{color:var(--soft);font-size:14px}
.example dd{margin:0;overflow-wrap:anywhere}
.line{display:block;font-weight:650;border-left:3px solid var(--bad);padding-left:10px;
margin-left:-13px}
figure{margin:12px 0 0}
figcaption{color:var(--soft);font-size:14px}
.panels{display:flex;flex-wrap:wrap;gap:14px 22px;margin-top:6px}
.panel{max-width:100%}
.panel span{display:block;font-size:13px;font-weight:600;color:var(--soft);margin-bottom:4px}
.panel img{display:block;max-width:100%;height:auto;border-radius:3px}
.grid{columns:2 400px;column-gap:14px;margin-top:14px}
.grid .card{margin:0 0 14px;break-inside:avoid}
.grid .card:only-child{column-span:all}
.cases td{padding:5px 14px 5px 0;border:0;font-size:14.5px;line-height:1.4}
.cases td:nth-child(2){width:34%}
.cases .num{padding-right:0}
.two{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:14px}
.two .card{margin-top:14px}
.scroll{overflow-x:auto;margin-top:10px}
table{border-collapse:collapse;width:100%}
th{text-align:left;color:var(--soft);font-weight:500;font-size:14px;white-space:nowrap}
th,td{padding:8px 14px 8px 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}
td .meter{min-width:90px}
.about{min-width:190px}
td.part{padding-left:28px}
.matrix td,.matrix th{padding:4px 6px;text-align:center;border:0}
.matrix th:first-child,.matrix td:first-child{text-align:left;padding-left:0;
min-width:11em;overflow-wrap:anywhere}
.matrix td.cell{border-radius:6px;min-width:54px;font-variant-numeric:tabular-nums;
border:2px solid var(--card)}
.matrix{border-collapse:separate;border-spacing:0}
.cell.full{background:var(--good-bg);color:var(--good)}
.cell.high{background:var(--sunk)}
.cell.low{background:var(--fair-bg);color:var(--fair)}
.cell.zero{background:var(--bad-bg);color:var(--bad)}
.cell.ours{background:var(--ours-bg);color:var(--ours)}
.mistake{display:grid;grid-template-columns:54px minmax(0,1fr);gap:14px;margin-top:16px;
break-inside:avoid}
a,h1,.soft{unicode-bidi:isolate}
.of{font-size:14px;margin-top:20px;padding-top:12px;border-top:1px solid var(--line)}
.mistake .count{font-size:23px;font-weight:650;line-height:1.2;font-variant-numeric:tabular-nums}
.mistake .meter{height:6px;margin:5px 0}
.who{font-size:14px;color:var(--soft);margin:2px 0 0;overflow-wrap:anywhere}
.source{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:14px}
main:has(.source){max-width:1500px}
.source pre{margin:0;padding:10px 0;overflow-x:auto;white-space:pre;font-size:12.5px}
.source pre span{display:block;padding:0 14px;min-height:1.5em}
.source pre .same{background:var(--fair-bg)}
footer{margin-top:52px;padding-top:16px;border-top:1px solid var(--line);color:var(--soft);
font-size:14px;overflow-wrap:anywhere}
@media (max-width:720px){body{font-size:15.5px}main{padding:26px 16px 48px}h1{font-size:26px}
.two,.source{grid-template-columns:minmax(0,1fr)}.card{padding:16px}section{margin-top:34px}
.tiles{grid-template-columns:repeat(2,1fr)}.example{grid-template-columns:1fr}
.bars text{font-size:22px}}
@media print{:root{--ground:#fff;--shadow:none;print-color-adjust:exact;
-webkit-print-color-adjust:exact}body{font-size:10pt}.tiles{grid-template-columns:repeat(6,1fr)}
.grid{columns:2}h1{font-size:22pt}main{max-width:none;padding:0}
.card,.tiles li{break-inside:avoid-page;border-color:#ccd3da}
article.card{break-inside:auto}section{margin-top:24px}
h2,h3{break-after:avoid}a{color:inherit}}
"""

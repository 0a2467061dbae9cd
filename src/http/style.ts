import { createHash } from 'node:crypto'

/** The one stylesheet, sent within each page: system fonts, light and dark, focus always in sight. */
export const STYLE = `
:root{color-scheme:light dark;--ink:#1b1d21;--soft:#555b66;--paper:#f4f5f7;--card:#fff;--line:#c9ced6;
--accent:#1d4ed8;--on-accent:#fff;--bad:#b3261e;--bad-paper:#fdeceb;--good:#166534}
@media (prefers-color-scheme:dark){:root{--ink:#eceef2;--soft:#a9b0bd;--paper:#15171b;--card:#1e2126;
--line:#444b57;--accent:#9db9ff;--on-accent:#10131a;--bad:#ffb4ab;--bad-paper:#3b1d1b;--good:#86d9a2}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}
main{max-width:28rem;margin:0 auto;padding:2rem 1rem 4rem}
main.wide{max-width:46rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.5rem;margin:0 0 1rem}
.card>:last-child,details>:last-child{margin-bottom:0}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}
h2{font-size:1.15rem;margin:0 0 .5rem}
p{margin:0 0 1rem}
ul,ol{margin:0 0 1rem;padding-left:1.25rem}
dl{margin:0 0 1rem}dt{color:var(--soft);font-size:.875rem}dd{margin:0 0 .5rem}
a{color:var(--accent)}
.soft{color:var(--soft);font-size:.875rem}
.alert{background:var(--bad-paper);color:var(--bad);border:1px solid currentColor;border-radius:.5rem;
padding:.75rem 1rem;margin:0 0 1rem}
.done{color:var(--good)}
label{display:block;font-weight:600;margin:0 0 .25rem}
label.choice{display:flex;gap:.6rem;align-items:baseline;font-weight:400;margin:0 0 .5rem}
.choice input{flex:none;width:1.1rem;height:1.1rem;margin:0;accent-color:var(--accent);position:relative;top:.15rem}
.choice span{min-width:0}
fieldset{border:0;padding:0;margin:0 0 1rem;min-width:0}
legend{font-size:1.15rem;font-weight:700;padding:0;margin:0 0 .5rem}
summary{cursor:pointer}details[open]>summary{margin:0 0 .5rem}form details{margin:0 0 1rem}form summary{font-weight:600;padding:.25rem 0}
details:has(input:invalid,input:focus)::details-content{content-visibility:visible;display:block;height:auto}li{margin:0 0 .25rem}
input[type=email],input[type=password],input[type=text],input[type=date],input[type=datetime-local],select{
width:100%;font:inherit;color:inherit;background:var(--card);border:1px solid var(--soft);
border-radius:.5rem;padding:.6rem .75rem;margin:0 0 1rem}
button,.button{display:inline-block;font:inherit;font-weight:600;border-radius:.5rem;padding:.6rem 1.25rem;
border:1px solid var(--accent);background:var(--accent);color:var(--on-accent);cursor:pointer;text-decoration:none}
button.second,.button.second{background:transparent;color:var(--ink);border-color:var(--soft)}
button.grave{background:transparent;color:var(--bad);border-color:var(--bad)}
.actions{display:flex;flex-wrap:wrap;gap:.75rem}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
`

/** The stylesheet as a CSP source: an injected one would not run. */
export const STYLE_SOURCE = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`

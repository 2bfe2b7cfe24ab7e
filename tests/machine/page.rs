//! The status page in a real browser: phone and desktop, light and dark, on a good and on a bad day. Judged by structure:
//! nothing sticks out, no text is cut off or missing, every text can be read on its background (WCAG 2.1, 4.5 to 1).
//!
//! `PITOOL_SCREENSHOTS=DIR` keeps what the browser drew; the picture in the README is `well-1280-light.png`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{Lab, Machine, Suite};
use pitool_testkit::suite::Runner;

use crate::{converged, install};

/// Machines made up, by `PITOOL_PAGES=tests/machine/pages cargo test -p pitool-monitor pages_for_a_browser`.
const DAYS: [(&str, &str); 2] =
    [("well", include_str!("pages/well.json")), ("ill", include_str!("pages/ill.json"))];

/// Moves every time of a status so that it was looked at just now, and has the program render it.
const RENDER: &str = r#"
import datetime, json, re, subprocess, sys
text = open(f"/root/{sys.argv[1]}.json").read()
read = lambda time: datetime.datetime.fromisoformat(time.replace("Z", "+00:00"))
taken = read(json.loads(text)["taken"])
ahead = datetime.datetime.now(datetime.timezone.utc) - taken
shift = lambda found: '"' + (read(found[1]) + ahead).strftime("%Y-%m-%dT%H:%M:%SZ") + '"'
text = re.sub(r'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"', shift, text)
open("/run/pitool-monitor/status.json", "w").write(text)
page = subprocess.run(["pitool", "status", "--html"], check=True, capture_output=True, text=True).stdout
open(f"/root/{sys.argv[1]}.html", "w").write(page)
measured = page.replace("<details>", "<details open>").replace("</body>", "<script>" + open("/root/measure.js").read() + "</script></body>")
open(f"/root/{sys.argv[1]}-measured.html", "w").write(measured)
"#;

/// Writes its findings into the page's title.
const MEASURE: &str = r#"
const found = [];
const root = document.documentElement;
if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} wide in ${innerWidth}`);
const rgba = text => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const behind = element => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
};
const light = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
let texts = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, e = node.parentElement, words = node.textContent.trim();
  if (!words || e.closest("script,style,.say,title")) continue;
  const style = getComputedStyle(e);
  if (style.display === "none" || !e.getClientRects().length) continue;
  texts++;
  const range = document.createRange(); range.selectNodeContents(node);
  const box = range.getBoundingClientRect();
  if (box.right > innerWidth + 1 || box.left < -1) found.push(`sticks out: ${words.slice(0, 40)}`);
  if (e.scrollWidth > e.clientWidth + 1 && style.overflow === "hidden") found.push(`cut off: ${words.slice(0, 40)}`);
  let opacity = 1; for (let p = e; p; p = p.parentElement) opacity *= Number(getComputedStyle(p).opacity);
  const back = behind(e), colour = rgba(style.color); colour[3] *= opacity;
  const [a, b] = [light(over(colour, back)), light(back)].sort((x, y) => y - x);
  const ratio = (a + .05) / (b + .05);
  if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${words.slice(0, 40)}`);
}
if (texts < 60) found.push(`only ${texts} texts`);
if (document.querySelectorAll(".spark path").length < 8) found.push("sparklines are missing");
const report = "measured " + JSON.stringify({ dark: matchMedia("(prefers-color-scheme: dark)").matches, width: innerWidth, texts, found });
if (parent === window) document.title = report; else parent.postMessage(report, "*");
"#;

/// A window of Chromium is at least 500 wide: a phone's page is asked for by the size of the frame that it is in.
const PHONE: &str = "<!doctype html><style>body{margin:0}iframe{border:0;display:block}</style>\
    <script>onmessage = event => { document.title = event.data }</script><iframe src=PAGE width=390 height=2600></iframe>";

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    // One browser is enough: it is the page that is looked at, not the release.
    if suite != Suite::Trixie {
        return;
    }
    let mut machine = None;
    runner.case(&format!("{suite}: page: a box with a browser"), || {
        let fresh = converged(lab, suite, "browser", deb)?;
        install(&fresh, "chromium fonts-dejavu-core")?;
        // The page of a machine that is made up: the service would write that of the box over it.
        fresh.check("systemctl stop pitool-monitor.service && mkdir -p /run/pitool-monitor")?;
        fresh.write_file("/root/render.py", RENDER, 0o644)?;
        fresh.write_file("/root/measure.js", MEASURE, 0o644)?;
        for (name, json) in DAYS {
            fresh.write_file(&format!("/root/{name}.json"), json, 0o644)?;
            fresh.check(&format!("python3 /root/render.py {name}"))?;
            for page in [name.to_owned(), format!("{name}-measured")] {
                fresh.write_file(
                    &format!("/root/{page}-390.html"),
                    PHONE.replace("PAGE", &format!("{page}.html")),
                    0o644,
                )?;
            }
        }
        machine = Some(fresh);
        Ok(())
    });
    let Some(machine) = machine else { return };
    for (name, _) in DAYS {
        for width in [390, 1280] {
            for dark in [false, true] {
                let scheme = if dark { "dark" } else { "light" };
                runner.case(&format!("{suite}: page: {name}, {width} wide, {scheme}"), || {
                    look(&machine, name, width, dark)
                });
            }
        }
    }
}

fn look(machine: &Machine, name: &str, width: u32, dark: bool) -> Result<()> {
    let scheme = u8::from(!dark);
    let phone = if width == 390 { "-390" } else { "" };
    let chromium = format!(
        "timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --blink-settings=preferredColorScheme={scheme} \
         --window-size={width},2600 --virtual-time-budget=3000"
    );
    let dom = machine
        .check(&format!("{chromium} --dump-dom file:///root/{name}-measured{phone}.html 2>/dev/null"))?
        .stdout;
    let title = dom.split("<title>measured ").nth(1).and_then(|rest| rest.split("</title>").next());
    let title = title.context("the page was not measured")?.replace("&quot;", "\"").replace("&amp;", "&");
    ensure!(title.contains("\"found\":[]"), "{title}");
    ensure!(
        title.contains(&format!("\"dark\":{dark}")) && title.contains(&format!("\"width\":{width}")),
        "{title}"
    );
    if let Some(dir) = std::env::var_os("PITOOL_SCREENSHOTS") {
        let file = format!("{name}-{width}-{}.png", if dark { "dark" } else { "light" });
        machine.check(&format!(
            "{chromium} --screenshot=/root/{file} file:///root/{name}{phone}.html 2>/dev/null"
        ))?;
        std::fs::write(Path::new(&dir).join(&file), machine.read_file(&format!("/root/{file}"))?)?;
    }
    Ok(())
}

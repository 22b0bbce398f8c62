// Drives Chromium over the page of status_page.py's scene. Orders come as JSON on standard input; each check is a line of JSON.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const orders = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(join(orders.packages, "node_modules", "x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const DESK = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

const say = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);
const check = (what, holds, seen) => say({ what, holds: Boolean(holds), seen: holds ? undefined : JSON.stringify(seen) });

// A page whose console, policy violations and requests are kept.
async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: DESK, ...options });
  const page = await context.newPage();
  const seen = { words: [], hosts: new Set(), loads: 0 };
  page.on("console", (message) => seen.words.push(message.text()));
  page.on("pageerror", (error) => seen.words.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith("data:")) seen.hosts.add(new URL(request.url()).host);
  });
  page.on("load", () => (seen.loads += 1));
  await page.goto(url);
  return { context, page, seen };
}

// Title and icon of an answer. What ages fails a while later, so a tab is held against what it was told, not against before.
async function told(page, answer) {
  return page.evaluate((html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    return [fresh.title, fresh.querySelector("#icon").href];
  }, await (await answer).text());
}

const tab = (page) => page.evaluate(() => [document.title, document.querySelector("#icon").href]);
const row = (name) => `#i-${name}`;
const text = async (page, selector) => (await page.locator(selector).innerText()).replace(/\s+/g, " ");

async function content(browser, javaScriptEnabled) {
  const how = javaScriptEnabled ? "with JavaScript" : "without JavaScript";
  const { context, page, seen } = await open(browser, orders.page, { javaScriptEnabled });
  const states = await page.locator(".wide tbody .state").allInnerTexts();
  const wanted = ["failing", "failing", "ageing", "good", "good", "idle"];
  check(`${how}: the worst stands first, in words`, states.join() === wanted.join(), states);
  const shapes = await page.locator(".wide tbody .state path").evaluateAll((all) => all.map((one) => one.getAttribute("d")));
  check(`${how}: and each state has a shape of its own`, new Set(shapes).size === 4, shapes);
  check(`${how}: the summary counts`, /2 failing 1 ageing 2 good 1 idle/.test(await text(page, "#summary")), await text(page, "#summary"));
  const billing = await text(page, row("billing"));
  for (const part of ["Nobody approved this app for this user", "Do: Setup >", "docs/troubleshooting.md#user_not_approved", "no token", "failed", "of 120 left"]) {
    check(`${how}: of what fails it says: ${part}`, billing.includes(part), billing);
  }
  const ageing = await text(page, row("crm-sync"));
  check(`${how}: what ages has a life, a cause and a remedy`, /\d+ s/.test(ageing) && ageing.includes("Do: "), ageing);
  check(`${how}: a certificate that ends soon`, /\b(19|20) days\b/.test(await text(page, row("elf-emea"))), await text(page, row("elf-emea")));
  check(`${how}: one login in the chart`, (await page.locator(`${row("elf-prod")} .up`).getAttribute("d")).startsWith("M"));
  const life = await page.locator(`${row("elf-prod")} .left`).getAttribute("d");
  check(`${how}: a bar of what is left`, /^M0 0h([89]\d|100)v8H0z$/.test(life), life);
  check(`${how}: a caller that asked`, /ago|just now/.test(await text(page, "#c-log-shipper")), await text(page, "#c-log-shipper"));
  check(`${how}: and one that never did`, (await text(page, "#c-newcomer")).includes("never since the start"));
  check(`${how}: what Salesforce said is a text`, (await text(page, row("orders-eu"))).includes("<script>"), await text(page, row("orders-eu")));
  check(`${how}: and does nothing`, !(await page.title()).includes("taken") && (await page.locator("img").count()) === 0);
  check(`${how}: the pause is for the script alone`, (await page.locator("#pause").isVisible()) === javaScriptEnabled);
  check(`${how}: the link loads it again`, await page.locator("#again").isVisible());
  if (!javaScriptEnabled) {
    await Promise.all([page.waitForEvent("load"), page.locator("#again").click()]);
    check("without JavaScript: and works", seen.loads >= 1 && page.url() === orders.page, page.url());
  }
  quiet(how, seen);
  await context.close();
}

function quiet(how, seen) {
  check(`${how}: no error, no violation of the policy`, seen.words.length === 0, seen.words);
  check(`${how}: no request to another host`, seen.hosts.size === 1, [...seen.hosts]);
}

async function refresh(browser) {
  const { context, page, seen } = await open(browser, orders.page);
  const details = page.locator(`${row("elf-prod")} details`);
  await details.locator("summary").focus();
  await page.keyboard.press("Enter");
  check("Enter unfolds the details", await details.evaluate((one) => one.open));
  await page.evaluate(() => {
    window.scrollTo(0, 150);
    window.sameDocument = true;
    window.said = [];
    window.kept = document.querySelector("#i-partner-portal");
    new MutationObserver(() => window.said.push(document.querySelector("#summary").innerText)).observe(
      document.querySelector("#summary"), { childList: true, subtree: true, characterData: true },
    );
  });
  const summary = await page.locator("#summary").innerText();
  const before = await page.evaluate(() => [scrollY, document.querySelector("#asof").textContent]);
  await page.waitForFunction((old) => document.querySelector("#asof").textContent !== old, before[1], { timeout: 15000 });
  check("the page refreshes itself", true);
  const said = await page.evaluate(() => [window.said, document.querySelector("#summary").innerText]);
  check("and the live region says nothing when no state changed", said[0].length === 0 || said[1] !== summary, said);
  const asked = await fetch(orders.ask, { headers: { authorization: `Bearer ${orders.key}` } });
  check("somebody asks for what was idle", asked.status === 200, asked.status);
  await page.waitForFunction(() => document.querySelector("#i-partner-portal .state").textContent === "good", null, { timeout: 15000 });
  check("which shows without a load", await page.evaluate(() => window.sameDocument === true));
  check("in the same row", await page.evaluate(() => window.kept === document.querySelector("#i-partner-portal")));
  check("and is said once", (await page.evaluate(() => window.said.length)) > 0);
  const focused = await page.evaluate(() => document.activeElement.closest("tbody")?.id);
  check("the focus is where it was", focused === "i-elf-prod", focused);
  check("so is what was unfolded", await details.evaluate((one) => one.open));
  const now = await page.evaluate(() => scrollY);
  check("and the scroll", Math.abs(now - before[0]) <= 2, [before[0], now]);
  quiet("after refreshes", seen);

  const alive = await tab(page);
  await page.setViewportSize({ ...DESK, height: 500 });
  await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  await page.route(orders.page, (route) => route.abort());
  await page.locator("#lost:not(:empty)").waitFor({ timeout: 15000 });
  check("an answer that does not come is told", (await text(page, "#lost")).includes("old"));
  const place = await page.locator("#lost").evaluate((one) => [scrollY, one.getBoundingClientRect().top, one.getBoundingClientRect().bottom]);
  check("where it is seen, however far down", place[0] > 150 && place[1] >= 0 && place[2] <= 500, place);
  const dead = await tab(page);
  check("and the tab knows no state any more", dead[0] === "? – Aquila" && dead[1] !== alive[1] && dead[1].includes("%23808080"), dead);
  const answer = page.waitForResponse(orders.page, { timeout: 20000 });
  await page.unroute(orders.page);
  await page.waitForFunction(() => document.querySelector("#lost").textContent === "", null, { timeout: 20000 });
  const [live, shown] = [await told(page, answer), await tab(page)];
  check("and taken back when one comes", shown.join() === live.join() && shown[0] !== dead[0], [live, shown]);
  await page.setViewportSize(DESK);

  await page.locator("#pause").click();
  const stopped = await text(page, "#asof");
  check("the pause says how to go on", (await page.locator("#pause").innerText()) === "Go on");
  await page.waitForTimeout(7000);
  check("and holds", (await text(page, "#asof")) === stopped);
  await page.locator("#pause").click();
  await page.waitForFunction((old) => !document.querySelector("#asof").textContent.includes(old), stopped, { timeout: 5000 });
  check("and ends", true);
  await context.close();
}

// A tab in the background, by a clock that the test moves.
async function hidden(browser) {
  const context = await browser.newContext({ viewport: DESK });
  const page = await context.newPage();
  await page.clock.install();
  await page.addInitScript(() => {
    window.away = false;
    Object.defineProperty(document, "hidden", { get: () => window.away });
  });
  await page.goto(orders.page);
  let asked = 0;
  page.on("request", () => (asked += 1));
  const look = (away) => page.evaluate((is) => {
    window.away = is;
    document.dispatchEvent(new Event("visibilitychange"));
  }, away);
  const again = async (act) => {
    const [request] = await Promise.all([page.waitForRequest(orders.page, { timeout: 5000 }).catch(() => null), act()]);
    return request !== null;
  };
  await look(true);
  await page.clock.fastForward(45000);
  check("a hidden tab does not ask every few seconds", asked === 0, asked);
  check("but each minute", await again(() => page.clock.fastForward(20000)));
  await page.waitForFunction(() => document.querySelector("#lost").textContent === "");
  await page.route(orders.page, (route) => route.abort());
  check("also", await again(() => page.clock.fastForward(65000)));
  await page.waitForFunction(() => document.title === "? – Aquila", null, { timeout: 5000 });
  check("a broker that is gone shows on it", true);
  await page.unroute(orders.page);
  const answer = page.waitForResponse(orders.page, { timeout: 5000 });
  check("it asks on", await again(() => page.clock.fastForward(65000)));
  await page.waitForFunction(() => document.title !== "? – Aquila", null, { timeout: 5000 });
  const [live, shown] = [await told(page, answer), await tab(page)];
  check("and recovers by itself", shown.join() === live.join(), [live, shown]);
  check("who looks at it has it fresh", await again(() => look(false)));
  await context.close();
}

async function narrow(browser) {
  const { context, page } = await open(browser, orders.page, { viewport: { width: 320, height: 640 } });
  const over = await page.locator(".wide .in > *").evaluateAll((all) =>
    all.map((one) => {
      const card = one.closest("section");
      const edge = card.getBoundingClientRect().right - parseFloat(getComputedStyle(card).paddingRight);
      return one.getBoundingClientRect().right - edge;
    }));
  check("on 320 pixels no chart leaves its card", over.length > 5 && Math.max(...over) <= 1, over);
  const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check("and nothing has to be scrolled sideways", wide[0] <= wide[1], wide);
  await context.close();
}

async function keyboard(browser) {
  const { context, page } = await open(browser, orders.page);
  const reached = [];
  let hidden = [];
  for (let step = 0; step < 40; step += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const one = document.activeElement;
      if (one === document.body) return null;
      const style = getComputedStyle(one);
      return { what: one.innerText, outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
    });
    if (!at) break;
    reached.push(at.what.replace(/\s+/g, " "));
    if (!at.outlined) hidden.push(at.what);
  }
  check("Tab reaches the skip link first", reached[0] === "Skip to the integrations", reached);
  check("then links and pause, and each row's details", reached.filter((one) => one.startsWith("Details of")).length === 6, reached);
  check("the focus is seen everywhere", hidden.length === 0, hidden);
  await context.close();
}

async function judged(browser) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, viewport] of [["wide", DESK], ["phone", PHONE]]) {
      const { context, page } = await open(browser, orders.page, { colorScheme, viewport });
      await page.locator(".wide details").evaluateAll((all) => all.forEach((one) => (one.open = true)));
      // The page's policy holds for what a test injects, too; this runs beside it.
      await page.evaluate(axe);
      const found = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
      const told = found.violations.map(({ id, nodes }) => [id, nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`)]);
      check(`axe-core finds no violation (${colorScheme}, ${size})`, told.length === 0, told);
      check(`and has looked at something (${colorScheme}, ${size})`, found.passes.length > 15, found.passes.length);
      const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      check(`nothing has to be scrolled sideways (${colorScheme}, ${size})`, wide[0] <= wide[1], wide);
      await context.close();
    }
  }
}

async function roles(browser) {
  const { context, page } = await open(browser, orders.page, { viewport: PHONE });
  const rows = await page.getByRole("row").count();
  const heads = await page.getByRole("rowheader").count();
  check("the table is a table on a phone, too", rows >= 14 && heads >= 6, [rows, heads]);
  const landmarks = await Promise.all(["banner", "main", "contentinfo"].map((role) => page.getByRole(role).count()));
  check("with landmarks", landmarks.join() === "1,1,1", landmarks);
  const regions = await page.getByRole("region").evaluateAll((all) => all.map((one) => one.id));
  check("and a named region for each part", regions.join() === "integrations,callers,configuration", regions);
  await context.close();
}

async function guarded(browser) {
  const { context, page, seen } = await open(browser, orders.guarded, { httpCredentials: { username: "on-call", password: orders.token } });
  check("a browser signs in with the token", (await page.locator("h1").innerText()) === "Aquila");
  const before = await text(page, "#asof");
  await page.waitForFunction((old) => !document.querySelector("#asof").textContent.includes(old), before, { timeout: 15000 });
  check("and stays so in refreshes", (await page.locator("#lost").innerText()) === "");
  quiet("signed in", { ...seen, words: seen.words.filter((word) => !word.includes("401")) });
  await context.close();
}

async function many(browser) {
  const { context, page, seen } = await open(browser, orders.many);
  check("five hundred rows", (await page.locator(".wide tbody").count()) === 500);
  check("are refreshed less often", (await page.locator("#pause").getAttribute("data-every")) === "25");
  await page.evaluate(() => document.querySelector("#again").click());
  const began = Date.now();
  const before = await text(page, "#asof");
  await page.waitForFunction((old) => !document.querySelector("#asof").textContent.includes(old), before, { timeout: 15000 }).catch(() => {});
  check("and refresh within seconds", Date.now() - began < 10000);
  quiet("with many", seen);
  await context.close();
}

async function pictures(browser) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, viewport] of [["wide", DESK], ["phone", PHONE]]) {
      const { context, page } = await open(browser, orders.page, { colorScheme, viewport });
      await page.screenshot({ path: join(orders.screenshots, `${colorScheme}-${size}.png`), fullPage: size === "wide" });
      await context.close();
    }
  }
}

const browser = await chromium.launch({ executablePath: orders.chromium, args: ARGUMENTS });
try {
  if (orders.screenshots) await pictures(browser);
  await content(browser, true);
  await content(browser, false);
  await judged(browser);
  await roles(browser);
  await keyboard(browser);
  await narrow(browser);
  await hidden(browser);
  await refresh(browser);
  await guarded(browser);
  await many(browser);
  say({ end: true });
} finally {
  await browser.close();
}

// What a visit leaves behind: the clicks that led here and the cookies by which destinations know a browser.

const STORE = "purchase_relay_visit";
const DAY = 86400000;
const DAYS_KEPT = 90;
const LONGEST_VALUE = 500;
const MOST_NAMES = 40;

// --- cookies -------------------------------------------------------------------------------------------------------

function cookie(name) {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found ? found.slice(name.length + 1) : "";
}

// `days` 0 ends with the browser's session, a negative number removes it.
function setCookie(name, value, days, domain) {
  const age = days ? `;max-age=${Math.round(days * 86400)}` : "";
  const place = domain ? `;domain=${domain}` : "";
  const secure = location.protocol === "https:" ? ";Secure" : "";
  document.cookie = `${name}=${value};path=/;SameSite=Lax${age}${place}${secure}`;
}

// The widest domain on which this page may set a cookie, found out by trying, and how many dots it has.
function ownDomain() {
  const labels = location.hostname.split(".");
  if (labels.length < 2 || /^[0-9.]+$/.test(location.hostname)) return { domain: "", dots: 0 };
  for (let first = labels.length - 2; first >= 0; first -= 1) {
    const domain = labels.slice(first).join(".");
    setCookie("purchase_relay_probe", "1", 0, domain);
    const isTaken = cookie("purchase_relay_probe") === "1";
    setCookie("purchase_relay_probe", "", -1, domain);
    if (isTaken) return { domain, dots: labels.length - 1 - first };
  }
  return { domain: "", dots: labels.length - 1 };
}

// --- memory --------------------------------------------------------------------------------------------------------

// {clicks: {name: [value, seen at]}, made: [cookies that we set], consent: text}. Kept in localStorage, where the
// browser allows it, else in a cookie; whatever stands there may have been written by anybody.
function recordIn(text) {
  let record = {};
  try {
    record = Object(JSON.parse(text));
  } catch (error) {
    // Nothing is kept, or nothing of ours.
  }
  const clicks = {};
  for (const [name, seen] of Object.entries(Object(record.clicks))) {
    if (Array.isArray(seen) && isValue(seen[0]) && seen[1] > Date.now() - DAYS_KEPT * DAY) clicks[name] = seen;
  }
  const made = Array.isArray(record.made) ? record.made.map(String) : [];
  return { clicks, made, consent: typeof record.consent === "string" ? record.consent : "" };
}

function keepRecord(record) {
  keep(STORE, record ? JSON.stringify(record) : "");
}

function kept(name) {
  try {
    return localStorage.getItem(name) || "";
  } catch (error) {
    return decodeURIComponent(cookie(name));
  }
}

// Empty text forgets it.
function keep(name, text) {
  try {
    if (text) localStorage.setItem(name, text);
    else localStorage.removeItem(name);
  } catch (error) {
    const written = encodeURIComponent(text);
    if (written.length < 3800 && (text || cookie(name))) setCookie(name, written, text ? DAYS_KEPT : -1);
  }
}

// --- what is captured ----------------------------------------------------------------------------------------------

function isValue(text) {
  return typeof text === "string" && text.length <= LONGEST_VALUE && /^[!-~]+$/.test(text);
}

// The clicks that this page's address names, else that of the page before, where it was one of this site.
function landingClicks(names) {
  const clicks = {};
  for (const address of [location.href, ownReferrer()]) {
    const query = new URLSearchParams((address.split("#")[0].split("?")[1]) || "");
    for (const name of names) {
      if (!clicks[name] && isValue(query.get(name))) clicks[name] = [query.get(name), Date.now()];
    }
  }
  return clicks;
}

function ownReferrer() {
  return document.referrer.startsWith(`${location.origin}/`) ? document.referrer : "";
}

// The same click seen again keeps the time at which it was seen first.
function withLanding(known, landed) {
  const clicks = { ...known };
  for (const [name, seen] of Object.entries(landed)) {
    if (!clicks[name] || clicks[name][0] !== seen[0]) clicks[name] = seen;
  }
  return clicks;
}

// What destinations make of a visit, by slug: {cookie's name: value}, "" for a cookie that is not to be used.
// `visit`: {cookie(name), click(name): {value, at} or null, dots: of the domain that holds the cookies, now}.
const cookieMakers = {};

function madeCookies(clicks, readCookie, dots) {
  const made = {};
  const visit = {
    cookie: readCookie,
    click: (name) => (clicks[name] ? { value: clicks[name][0], at: clicks[name][1] } : null),
    dots,
    now: Date.now(),
  };
  for (const make of Object.values(cookieMakers)) Object.assign(made, make(visit));
  return made;
}

// Name/value pairs for the order. `names` are those that destinations look up; a cookie may have one before it.
function attributesOf(names, clicks, readCookie, made) {
  const attributes = {};
  for (const name of names) {
    const [spelling, value] = clicks[name] ? [name, clicks[name][0]] : cookieNamed(name, readCookie, made);
    if (isValue(value) && Object.keys(attributes).length < MOST_NAMES) attributes[spelling] = value;
  }
  return attributes;
}

function cookieNamed(name, readCookie, made) {
  for (const spelling of [`_${name}`, name]) {
    const value = spelling in made ? made[spelling] : readCookie(spelling);
    if (value) return [spelling, value];
  }
  return [name, ""];
}

// --- the page ------------------------------------------------------------------------------------------------------

const PRIVATE_PART = /^(orders?|order-received|order-pay|checkouts|carts?|c|cn)$/i;
const TOKEN = /^(?=.*[0-9])(?=.*[A-Za-z])[\w~]{20,}$|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$|@|%40|^wc_order_/i;

// The address without whatever might open something or name somebody: no user, query or fragment, and of the path
// no more than stands before an order, a checkout or a token.
function cleanPage(address) {
  const parts = new URL(address);
  const path = [];
  for (const part of parts.pathname.split("/").slice(1)) {
    if (PRIVATE_PART.test(part) || TOKEN.test(part)) return `${parts.origin}/${path.map((one) => `${one}/`).join("")}`;
    path.push(part);
  }
  return `${parts.origin}/${path.join("/")}`;
}

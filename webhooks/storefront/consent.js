// What the shopper allowed, as those say who asked them: Shopify, the page's consent banner, Google's consent mode.
// integrations/consent.py has the same rules for what reaches the server as it was; tests/data/consent asks both.
//
// A state has a word for each purpose: "granted", "denied", or "" when nobody said.

const PURPOSES = ["ad_storage", "ad_user_data", "ad_personalization"];

const WORDS = { true: "granted", false: "denied" };

// A banner that has no answer yet.
const PENDING = { pending: true };

function same(word) {
  return { ad_storage: word, ad_user_data: word, ad_personalization: word };
}

// How to read each source; null where it is not on this page.
const consentSources = {
  // shopify.dev, Customer Privacy API. What may be used for marketing but not be sold is not for personalised ads.
  shopify(page) {
    const privacy = (page.Shopify || {}).customerPrivacy;
    if (!privacy || !privacy.marketingAllowed) return null;
    return fromShopify({
      marketingAllowed: privacy.marketingAllowed(),
      saleOfDataAllowed: privacy.saleOfDataAllowed ? privacy.saleOfDataAllowed() : true,
    });
  },
  // IAB TCF 2.2, "CMP API": what the last call of our listener told.
  tcf(page, heard) {
    if (heard.tcf) return fromTcf(heard.tcf);
    return typeof page.__tcfapi === "function" ? PENDING : null;
  },
  // cookiebot.com, "Developer": marketing is one answer for all purposes, and where the law does not ask for a yes
  // it is there without a response.
  cookiebot(page) {
    const banner = page.Cookiebot;
    if (!banner || !banner.consent) return null;
    if (!banner.hasResponse && !banner.consent.marketing) return PENDING;
    return same(WORDS[Boolean(banner.consent.marketing)]);
  },
  // OneTrust, "OnetrustActiveGroups": the categories that may run; C0004 is targeting.
  onetrust(page) {
    const groups = page.OnetrustActiveGroups;
    return groups ? same(WORDS[String(groups).split(",").includes("C0004")]) : null;
  },
  // wordpress.org/plugins/wp-consent-api. Without a type nobody has set it up, and it allows everything.
  wp_consent_api(page) {
    return page.wp_has_consent && page.wp_consent_type ? same(WORDS[Boolean(page.wp_has_consent("marketing"))]) : null;
  },
  // developers.google.com/tag-platform/security/guides/consent
  google_consent_mode(page) {
    return fromConsentMode(page.dataLayer || []);
  },
};

function fromShopify(told) {
  const word = WORDS[told.marketingAllowed];
  return { ...same(word), ad_personalization: told.saleOfDataAllowed ? word : "denied" };
}

// Purposes 1 (store on the device), 7 (measure ads), 3 and 4 (personalised ads).
function fromTcf(told) {
  if (told.gdprApplies === false) return null;
  const consents = (told.purpose || {}).consents || {};
  const all = (...purposes) => WORDS[purposes.every((purpose) => consents[purpose] === true)];
  return { ad_storage: all(1), ad_user_data: all(1, 7), ad_personalization: all(1, 3, 4) };
}

// The calls of gtag("consent", …) in their order. A default for some regions may not be this shopper's.
function fromConsentMode(calls) {
  let found = null;
  for (const call of calls) {
    if (!call || call[0] !== "consent" || !call[2] || call[2].region) continue;
    found = found || same("");
    for (const purpose of PURPOSES) {
      if (call[2][purpose] === "granted" || call[2][purpose] === "denied") found[purpose] = call[2][purpose];
    }
  }
  return found;
}

// Of all sources: a no of any of them is a no.
function combined(answers) {
  const state = { ...same(""), source: "", pending: answers.some(([, answer]) => answer === PENDING) };
  for (const [source, answer] of answers) {
    if (!answer || answer === PENDING) continue;
    const stricter = PURPOSES.some((purpose) => answer[purpose] === "denied" && state[purpose] !== "denied");
    if (!state.source || stricter) state.source = source;
    for (const purpose of PURPOSES) {
      if (state[purpose] !== "denied" && answer[purpose]) state[purpose] = answer[purpose];
    }
  }
  return state;
}

// Reads the state whenever it is called, and calls `changed` when it may have become another.
function consentOf(page, changed) {
  const heard = {};
  const names = ["CookiebotOnConsentReady", "CookiebotOnAccept", "CookiebotOnDecline", "OneTrustGroupsUpdated"];
  for (const name of names) page.addEventListener(name, changed);
  for (const name of ["visitorConsentCollected", "wp_listen_for_consent_change"]) {
    page.document.addEventListener(name, changed);
  }
  listenToConsentMode(page, changed);
  return () => {
    listenToTcf(page, heard, changed);
    return combined(Object.entries(consentSources).map(([source, read]) => [source, read(page, heard)]));
  };
}

function listenToConsentMode(page, changed) {
  const calls = (page.dataLayer = page.dataLayer || []);
  const push = calls.push;
  calls.push = function (...added) {
    const length = push.apply(calls, added);
    if (added.some((call) => call && call[0] === "consent")) changed();
    return length;
  };
}

// The banner may be loaded after this script: it is looked for until it is there.
function listenToTcf(page, heard, changed) {
  if (heard.listening || typeof page.__tcfapi !== "function") return;
  heard.listening = true;
  page.__tcfapi("addEventListener", 2, (told, ok) => {
    if (!ok || !["tcloaded", "useractioncomplete"].includes(told.eventStatus)) return;
    heard.tcf = told;
    changed();
  });
}

// Whether this visit may be remembered and told of. `ask` says where it takes a yes: always, europe or never.
function isAllowed(state, ask) {
  const words = [state.ad_storage, state.ad_user_data];
  if (state.pending || words.includes("denied")) return false;
  return !isAsked(ask) || words.every((word) => word === "granted");
}

// Where the shopper is, as far as a page can tell: by the clock of their device.
function isAsked(ask) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "Europe/";
  return ask === "always" || (ask === "europe" && /^(Europe|Atlantic)\//.test(zone));
}

function consentText(state, at) {
  const words = PURPOSES.map((purpose) => `${purpose}=${state[purpose]}`);
  return state.source ? [...words, `source=${state.source}`, `at=${at}`].join(";") : "";
}

// What the page says now; before its banner is there, what it said last.
function withMemory(state, text) {
  if (state.source || state.pending) return state;
  const fields = new URLSearchParams(text.split(";").join("&"));
  const word = (purpose) => (/^(granted|denied)$/.test(fields.get(purpose)) ? fields.get(purpose) : "");
  const remembered = { ...state, source: fields.get("source") || "" };
  for (const purpose of PURPOSES) remembered[purpose] = word(purpose);
  return remembered.source ? remembered : state;
}

// An answer keeps the time at which it was first read, so that it is told as the same one on every page.
function lastingConsent(known, state) {
  const now = consentText(state, Date.now());
  const words = (text) => text.split(";at=")[0];
  return words(known) === words(now) ? known : now;
}

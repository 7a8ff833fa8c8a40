// What the shopper allowed, as those say who asked them: Shopify, the page's consent banner, Google's consent mode.
// integrations/consent.py has the same rules for what reaches the server as it was; tests/data/consent asks both.
//
// A state has a word for each purpose: "granted", "denied", or "" when nobody said. A default that nobody answered is
// no answer, unless it is a no.

const PURPOSES = ["ad_storage", "ad_user_data", "ad_personalization"];

const WORDS = { true: "granted", false: "denied" };

// A banner that has no answer yet.
const PENDING = { pending: true };

function same(word) {
  return { ad_storage: word, ad_user_data: word, ad_personalization: word };
}

// How to read each source; null where it is not on this page, or has nothing to say.
const consentSources = {
  // shopify.dev, Customer Privacy API.
  shopify(page) {
    const privacy = (page.Shopify || {}).customerPrivacy;
    if (!privacy || !privacy.marketingAllowed) return null;
    return fromShopify({
      marketingAllowed: privacy.marketingAllowed(),
      saleOfDataAllowed: privacy.saleOfDataAllowed ? privacy.saleOfDataAllowed() : null,
    });
  },
  // IAB TCF 2.2, "CMP API": what the last call of our listener told.
  tcf(page, heard) {
    if (heard.tcf) return fromTcf(heard.tcf);
    return typeof page.__tcfapi === "function" ? PENDING : null;
  },
  // cookiebot.com, "Developer": marketing is one answer for all purposes, and may be implied where no law asks.
  cookiebot(page) {
    const banner = page.Cookiebot;
    if (!banner || !banner.consent) return null;
    const isAnswered = banner.hasResponse && banner.consent.method !== "implied";
    if (!banner.consent.marketing) return banner.hasResponse ? same("denied") : PENDING;
    return isAnswered ? same("granted") : null;
  },
  // my.onetrust.com, "OneTrust cookies". The cookie is there with the banner.
  onetrust(page) {
    const text = /(?:^|; )OptanonConsent=([^;]*)/.exec(page.document.cookie);
    const isClosed = /(?:^|; )OptanonAlertBoxClosed=[^;]/.test(page.document.cookie);
    return text ? fromOneTrust(new URLSearchParams(decoded(text[1])), isClosed) : null;
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

// What must not be sold is not for personalised ads.
function fromShopify(told) {
  const answer = same(WORDS[told.marketingAllowed] || "");
  if (told.saleOfDataAllowed === false) answer.ad_personalization = "denied";
  return PURPOSES.some((purpose) => answer[purpose]) ? answer : null;
}

// Purposes 1 (store on the device), 7 (measure ads), 3 and 4 (personalised ads).
function fromTcf(told) {
  if (told.gdprApplies === false) return null;
  const consents = (told.purpose || {}).consents || {};
  const all = (...purposes) => WORDS[purposes.every((purpose) => consents[purpose] === true)];
  return { ad_storage: all(1), ad_user_data: all(1, 7), ad_personalization: all(1, 3, 4) };
}

// Category C0004 is targeting. A browser's own objection (GPC) is an answer, too.
function fromOneTrust(fields, isClosed) {
  const targeting = /(?:^|,)C0004:([01])/.exec(fields.get("groups") || "");
  const isAnswered = (fields.get("interactionCount") || "1") !== "0" || isClosed;
  const objects = fields.get("isGpcEnabled") === "1";
  if (!isAnswered && !objects) return targeting && targeting[1] === "0" ? PENDING : null;
  const answer = same(isAnswered && targeting ? WORDS[targeting[1] === "1"] : "");
  return objects ? { ...answer, ad_personalization: "denied" } : answer;
}

// The calls of gtag("consent", …) in their order. A default for some regions may not be this shopper's.
function fromConsentMode(calls) {
  const found = same("");
  for (const call of calls) {
    if (!call || call[0] !== "consent" || !call[2] || call[2].region) continue;
    for (const purpose of PURPOSES) {
      const word = call[2][purpose];
      if (word === "denied" || (word === "granted" && call[1] === "update")) found[purpose] = word;
    }
  }
  return PURPOSES.some((purpose) => found[purpose]) ? found : null;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    return text;
  }
}

// Of all sources: a no of any of them is a no.
function combined(answers) {
  const state = { ...same(""), source: "", pending: answers.some(([, answer]) => answer === PENDING) };
  for (const [source, answer] of answers) {
    if (!answer || answer === PENDING || !PURPOSES.some((purpose) => answer[purpose])) continue;
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

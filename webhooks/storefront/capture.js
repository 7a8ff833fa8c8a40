// On every page of the shop: notes what the visit came from, as far as the shopper allows it, and hands it to the
// order by the store's own `handOver`.

const LATE_SOURCES = [500, 1000, 2000, 4000, 8000, 16000];

function startCapture(config) {
  if (window.purchaseRelay) return; // pasted twice
  const landed = landingClicks(config.clicks);
  let home = null;
  const place = () => (home = home || ownDomain()); // which takes a cookie to find out
  const readConsent = consentOf(window, () => setTimeout(update, 0));
  let attributes = {};

  function update() {
    const known = recordIn(kept(STORE));
    const state = withMemory(readConsent(), known.consent);
    attributes = noted(config, known, state, landed, place);
    handOver(attributes, config, isAllowed(state, config.ask));
  }

  window.purchaseRelay = { attributes: () => ({ ...attributes }), update };
  update();
  window.addEventListener("load", update);
  window.addEventListener("pageshow", (shown) => shown.persisted && update());
  // Banners and vendors' scripts come late, and not all of them say so.
  for (const wait of LATE_SOURCES) setTimeout(update, wait);
}

// The pairs for the order as things stand. Without the shopper's leave the only one is their answer, and what was
// remembered is forgotten.
function noted(config, known, state, landed, place) {
  const consent = lastingConsent(known.consent, state);
  const attributes = consent ? { _consent_state: consent } : {};
  if (!isAllowed(state, config.ask)) {
    forget(known, consent, place);
    return attributes;
  }
  const clicks = withLanding(known.clicks, landed);
  const made = madeCookies(clicks, cookie, place().dots);
  const names = Object.keys(made).filter((name) => made[name]);
  for (const name of names) setCookie(name, made[name], DAYS_KEPT, place().domain);
  keepRecord({ clicks, consent, made: Array.from(new Set([...known.made, ...names])) });
  Object.assign(attributes, attributesOf(config.names, clicks, cookie, made));
  attributes.event_source_url = cleanPage(location.href);
  return attributes;
}

function forget(known, consent, place) {
  for (const name of known.made) setCookie(name, "", -1, place().domain);
  keepRecord(consent ? { consent } : null);
}

// Imitates what Shopify's storefront has for scripts of a theme (shopify.dev, Customer Privacy API). The answer to
// the consent banner is kept in a cookie, and no answer allows nothing, as in Europe.
window.Shopify = {
  routes: { root: "/" },
  loadFeatures(features, done) {
    setTimeout(() => {
      const answer = () => (document.cookie.match(/consent=(yes|no)/) || [])[1];
      window.Shopify.customerPrivacy = {
        marketingAllowed: () => answer() === "yes",
        saleOfDataAllowed: () => answer() !== "no",
        setTrackingConsent(choice) {
          document.cookie = `consent=${choice.marketing ? "yes" : "no"};path=/`;
          document.dispatchEvent(new CustomEvent("visitorConsentCollected"));
        },
      };
      done();
    }, 0);
  },
};

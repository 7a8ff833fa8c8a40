// Meta: the cookies _fbc and _fbp, made as its own pixel makes them (Conversions API, "fbp and fbc parameters").
// The pixel keeps what it finds, so that browser and server tell of the same click.

// A click id may hold dots; newer cookies end with a tag of the library that made them.
const FBC = /^fb\.[0-9]\.([0-9]+)\.(.+)$/;
const FBP = /^fb\.[0-9]\.[0-9]+\.[0-9]+(\.(AQ|Ag|Aw|BA|BQ|Bg|[\w-]{8}))?$/;

cookieMakers.meta = function (visit) {
  const made = {};
  const known = FBC.exec(visit.cookie("_fbc"));
  const click = visit.click("fbclid");
  if (click && !(known && isOf(known, click))) made._fbc = `fb.${visit.dots}.${click.at}.${click.value}`;
  else if (!known) made._fbc = "";
  if (!FBP.test(visit.cookie("_fbp"))) {
    made._fbp = `fb.${visit.dots}.${visit.now}.${Math.floor(Math.random() * 2 ** 31)}`;
  }
  return made;
};

function isOf(known, click) {
  const [, at, id] = known;
  return `${id}.`.startsWith(`${click.value}.`) || Number(at) >= click.at;
}

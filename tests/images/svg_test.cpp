#include "attune/images/svg.h"

#include <array>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/images/support.h"

namespace attune {
namespace {

using testing::HasSubstr;
using Rgba = std::array<int, 4>;

Rgba at(const AlphaImage& image, int x, int y) {
  const auto from = static_cast<std::size_t>(y * image.width + x) * 4;
  return {image.rgba[from], image.rgba[from + 1], image.rgba[from + 2], image.rgba[from + 3]};
}

std::string svg(const std::string& body, const std::string& attributes = R"(viewBox="0 0 10 10")") {
  return R"(<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" )" + attributes + ">" +
         body + "</svg>";
}

std::string refusal(const std::string& text, int width = 8, int height = 8) {
  return error_of([&] { render_svg(text, width, height, "icon.svg"); });
}

TEST(Svg, FillsThePictureWithTheViewBox) {
  const AlphaImage image = render_svg(svg(R"(<path fill="#ff8000" d="M0 0h5v10h-5z"/>)"), 20, 20, "icon.svg");
  EXPECT_EQ(at(image, 2, 2), (Rgba{255, 128, 0, 255}));
  EXPECT_EQ(at(image, 9, 19), (Rgba{255, 128, 0, 255}));
  EXPECT_EQ(at(image, 10, 2), (Rgba{0, 0, 0, 0}));
}

TEST(Svg, ColoursOfTranslucentPixelsAreNotPremultiplied) {
  const AlphaImage image =
      render_svg(svg(R"(<rect width="10" height="10" fill="#c86432" fill-opacity="0.5"/>)"), 4, 4, "icon.svg");
  const Rgba pixel = at(image, 1, 1);
  EXPECT_NEAR(pixel[0], 200, 1);
  EXPECT_NEAR(pixel[1], 100, 1);
  EXPECT_NEAR(pixel[2], 50, 1);
  EXPECT_NEAR(pixel[3], 128, 1);
}

TEST(Svg, ShowsThePartThatIsAskedFor) {
  const std::string text = svg(R"(<rect x="5" y="5" width="5" height="5" fill="red"/>)");
  const AlphaImage part = render_svg(text, 8, 8, "icon.svg", ViewBox{5, 5, 5, 5});
  EXPECT_EQ(at(part, 0, 0), (Rgba{255, 0, 0, 255}));
  EXPECT_EQ(at(part, 7, 7), (Rgba{255, 0, 0, 255}));
  // The proportions are kept: 10 x 5 units in a square leave a quarter free above and below.
  const AlphaImage wide = render_svg(text, 8, 8, "icon.svg", ViewBox{0, 5, 10, 5});
  EXPECT_EQ(at(wide, 6, 4), (Rgba{255, 0, 0, 255}));
  EXPECT_EQ(at(wide, 6, 1), (Rgba{0, 0, 0, 0}));
}

TEST(Svg, AViewShowsWhatLiesBeyondTheDocument) {
  const std::string text = svg(R"(<rect x="-10" y="0" width="10" height="10" fill="blue"/>)");
  const AlphaImage image = render_svg(text, 20, 10, "icon.svg", ViewBox{-10, 0, 20, 10});
  EXPECT_EQ(at(image, 3, 5), (Rgba{0, 0, 255, 255}));
  EXPECT_EQ(at(image, 15, 5), (Rgba{0, 0, 0, 0}));
}

TEST(Svg, ADocumentWithoutViewBoxIsMeasuredByItsSize) {
  const std::string text = svg(R"(<rect width="20" height="40" fill="lime"/>)", R"(width="40" height="40")");
  const AlphaImage image = render_svg(text, 8, 8, "icon.svg", ViewBox{0, 0, 40, 40});
  EXPECT_EQ(at(image, 1, 4), (Rgba{0, 255, 0, 255}));
  EXPECT_EQ(at(image, 6, 4)[3], 0);
}

TEST(Svg, ReferencesWithinTheTextWork) {
  const AlphaImage image = render_svg(
      svg(R"x(<defs><linearGradient id="g"><stop stop-color="#00f"/></linearGradient>)x"
          R"x(<rect id="r" width="10" height="10"/></defs><use xlink:href="#r" fill="url(#g)"/><a href='#x'/>)x"),
      4, 4, "icon.svg");
  EXPECT_EQ(at(image, 2, 2), (Rgba{0, 0, 255, 255}));
}

TEST(Svg, RefusesEverythingOutsideOfTheText) {
  for (const std::string body : {
           R"x(<image href="/etc/passwd" width="9" height="9"/>)x",
           R"x(<use href="other.svg#a"/>)x",
           R"x(<use xlink:href = 'file:///tmp/x.svg#a'/>)x",
           R"x(<rect fill="url(http://example.org/#a)" width="9" height="9"/>)x",
           R"x(<rect style="fill:url( 'x.svg#a' )" width="9" height="9"/>)x",
           R"x(<style>@import "x.css";</style>)x",
           R"x(<image href="data:image/png;base64,AAAA"/>)x",
           R"x(<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="x"/>)x",
       }) {
    const std::string error = refusal(svg(body));
    EXPECT_THAT(error, HasSubstr("icon.svg: SVG ")) << body;
    EXPECT_THAT(error, testing::AnyOf(HasSubstr("outside of itself"), HasSubstr("refused"))) << body;
  }
  EXPECT_THAT(refusal(R"(<!DOCTYPE svg [<!ENTITY a "aaaa">]>)" + svg("<text>&a;</text>")), HasSubstr("<!entity"));
  EXPECT_THAT(refusal(R"(<?xml-stylesheet href="x.css"?>)" + svg("")), HasSubstr("xml-stylesheet"));
}

TEST(Svg, RefusesBrokenTexts) {
  EXPECT_THAT(refusal(""), HasSubstr("icon.svg: expected an SVG text of 1 to"));
  EXPECT_THAT(refusal("not a drawing"), HasSubstr("icon.svg: broken SVG"));
  EXPECT_THAT(refusal("<html></html>"), HasSubstr("icon.svg: "));
  EXPECT_THAT(refusal(std::string("\0\xFF\xFE<svg", 7)), HasSubstr("icon.svg: broken SVG"));
  const std::string whole = svg(R"(<g><rect width="10" height="10"/></g>)");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(refusal(whole.substr(0, size)), HasSubstr("icon.svg: ")) << size;
  }
  EXPECT_EQ(refusal(whole), "");
}

TEST(Svg, RefusesEncodingsThatCouldHideAReference) {
  const std::string plain = svg(R"(<image href="x.png"/>)");
  std::string wide;
  for (const char letter : plain) wide += {letter, '\0'};
  EXPECT_THAT(refusal(wide), HasSubstr("expected UTF-8"));
  EXPECT_THAT(refusal("\xFF\xFE" + wide), HasSubstr("expected UTF-8"));
  EXPECT_THAT(refusal(R"(<?xml version="1.0" encoding="UTF-7"?>)" + svg("")), HasSubstr("another encoding"));
  EXPECT_THAT(refusal(R"(<?xml version='1.0' encoding='UTF-16'?>)" + svg("")), HasSubstr("another encoding"));
  EXPECT_EQ(refusal("\xEF\xBB\xBF"
                    R"(<?xml version="1.0" encoding="UTF-8"?>)" +
                    svg("")),
            "");
}

TEST(Svg, RefusesSizesBeyondReason) {
  EXPECT_THAT(refusal(svg(""), 0, 4), HasSubstr("found 0 x 4"));
  EXPECT_THAT(refusal(svg(""), 100'000, 4), HasSubstr("found 100000 x 4"));
  EXPECT_THAT(refusal(std::string(9 << 20, ' ')), HasSubstr("bytes, found"));
  for (const double side : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_THAT(error_of([&] {
                  render_svg(svg(""), 4, 4, "icon.svg", ViewBox{0, 0, side, side});
                }),
                HasSubstr("expected a view box with an area"));
  }
}

TEST(Svg, SlowRefusesAnExponentialDrawing) {
  std::string body = R"(<g id="a0"/>)";
  for (int level = 1; level < 30; ++level) {
    body += "<g id=\"a" + std::to_string(level) + "\">";
    for (int copy = 0; copy < 10; ++copy) body += "<use href=\"#a" + std::to_string(level - 1) + "\"/>";
    body += "</g>";
  }
  EXPECT_THAT(refusal(svg("<defs>" + body + R"(</defs><use href="#a29"/>)")), HasSubstr("icon.svg: "));
}

}  // namespace
}  // namespace attune

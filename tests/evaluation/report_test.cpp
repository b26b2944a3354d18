#include "attune/evaluation/report.h"

#include <algorithm>
#include <limits>
#include <regex>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/log.h"
#include "attune/evaluation/charts.h"
#include "attune/evaluation/html.h"
#include "attune/images/encode.h"
#include "tests/evaluation/example_run.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

/// A run folder with everything that a training run leaves.
class ReportOfRun : public testing::Test {
 protected:
  ReportOfRun() {
    write_results(folder_.path() / "results.json", {example_results()});
    write_file(folder_.path() / "config.yaml", "method: coop # <not a tag>\n");
    std::string log;
    for (int epoch = 1; epoch <= 5; ++epoch) {
      log += fmt::format("{{\"kind\":\"step\",\"stage\":\"coop\",\"epoch\":{},\"step\":1,\"loss\":2}}\n", epoch);
      log += fmt::format(
          "{{\"kind\":\"epoch\",\"stage\":\"coop\",\"epoch\":{},\"loss\":{},\"acc\":0.5,\"lr\":0.002,\"seconds\":1.5}}"
          "\n",
          epoch, 3.0 / epoch);
    }
    write_file(folder_.path() / "metrics.jsonl", log + "{\"kind\":\"ep");
    Image image{2, 2, std::vector<std::uint8_t>(12, 200)};
    write_file(folder_.path() / "picture.png", encode_png(image));
  }

  TemporaryFolder folder_;
};

/// The texts of the cells of the first table row whose text begins with `heading`.
std::vector<std::string> row_of(const std::string& html, const std::string& heading) {
  const std::regex row_form("<tr[^>]*>([^\\n]*)</tr>");
  for (std::sregex_iterator row(html.begin(), html.end(), row_form), end; row != end; ++row) {
    const std::string content = (*row)[1];
    std::vector<std::string> cells;
    const std::regex cell_form("<t[hd][^>]*>(.*?)</t[hd]>");
    for (std::sregex_iterator cell(content.begin(), content.end(), cell_form), last; cell != last; ++cell) {
      cells.push_back(std::regex_replace((*cell)[1].str(), std::regex("<[^>]*>"), "|"));
    }
    if (!cells.empty() && cells[0].rfind(heading, 0) == 0) return cells;
  }
  return {};
}

TEST_F(ReportOfRun, TablesHoldTheNumbers) {
  const std::string html = report_html({read_run(folder_.path())});
  const std::vector<std::string> all = row_of(html, "All images");
  ASSERT_GE(all.size(), 5U);
  EXPECT_THAT(all[0], HasSubstr("300 images"));
  EXPECT_EQ(all[2], "40.0");
  EXPECT_EQ(all[3], "|70.0||64.6–74.9|");
  EXPECT_THAT(all[4], HasSubstr("+30.0"));
  const std::vector<std::string> fluent = row_of(html, "fluent");
  EXPECT_THAT(fluent.at(0), HasSubstr("never shown"));
  EXPECT_THAT(fluent.at(0), HasSubstr("150 images"));
  EXPECT_THAT(row_of(html, "noto").at(0), HasSubstr("trained on"));
  EXPECT_THAT(html, HasSubstr("17.5"));
  EXPECT_EQ(row_of(html, "R&amp;D").at(2), "70.0");
  EXPECT_THAT(html, HasSubstr("R&amp;D named it&#39;s &quot;so&quot;: 30 of 100"));
  EXPECT_EQ(row_of(html, "4").at(1), "0.75");  // the fourth epoch's loss
}

TEST_F(ReportOfRun, NothingFromDataIsMarkup) {
  const std::string html = report_html({read_run(folder_.path())});
  EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<b>\"one\"")));
  EXPECT_THAT(html, Not(HasSubstr("<not a tag>")));
  EXPECT_THAT(html, HasSubstr("--data &#39;a&amp;b&#39;"));
}

TEST_F(ReportOfRun, AsksNothingOfTheNetwork) {
  const std::string html = report_html({read_run(folder_.path())});
  EXPECT_THAT(html, Not(HasSubstr("http")));
  EXPECT_THAT(html, Not(HasSubstr("@import")));
  EXPECT_THAT(html, Not(HasSubstr("url(")));
  EXPECT_FALSE(std::regex_search(html, std::regex("src=\"(?!data:)")));
}

TEST_F(ReportOfRun, PicturesAreEmbeddedAndMissingOnesToldOf) {
  std::vector<std::string> warnings;
  set_log_sink([&](Severity severity, std::string_view text) {
    if (severity == Severity::kWarning) warnings.emplace_back(text);
  });
  const std::string html = report_html({read_run(folder_.path())});
  set_log_sink({});
  EXPECT_THAT(html, HasSubstr("src=\"data:image/png;base64,"));
  EXPECT_THAT(html, HasSubstr("image not found"));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], HasSubstr("missing.png"));
}

TEST_F(ReportOfRun, IsTheSameEveryTime) {
  write_report(std::vector<std::filesystem::path>{folder_.path()}, folder_.path() / "one.html");
  write_report(std::vector<std::filesystem::path>{folder_.path()}, folder_.path() / "two.html");
  EXPECT_EQ(read_file(folder_.path() / "one.html"), read_file(folder_.path() / "two.html"));
}

TEST_F(ReportOfRun, SeveralEvaluationsHaveDistinctAnchors) {
  const attune::Run run = read_run(folder_.path());
  const std::string html = report_html({run, run});
  std::vector<std::string> ids;
  const std::regex form(" id=\"([^\"]*)\"");
  for (std::sregex_iterator id(html.begin(), html.end(), form), end; id != end; ++id) ids.push_back((*id)[1]);
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
  const std::regex link("href=\"#([^\"]*)\"");
  for (std::sregex_iterator at(html.begin(), html.end(), link), end; at != end; ++at) {
    EXPECT_TRUE(std::binary_search(ids.begin(), ids.end(), (*at)[1].str())) << (*at)[1];
  }
}

TEST_F(ReportOfRun, AnEvaluationAloneNeedsOnlyItsResults) {
  std::filesystem::remove(folder_.path() / "config.yaml");
  std::filesystem::remove(folder_.path() / "metrics.jsonl");
  Results bare = example_results();
  bare.method = "zero-shot";
  bare.zero_shot.reset();
  bare.floors.reset();
  bare.forgetting.reset();
  bare.examples.clear();
  bare.measured.per_domain.clear();
  bare.measured.groups.clear();
  write_results(folder_.path() / "results.json", {bare});
  const std::string html = report_html({read_run(folder_.path())});
  EXPECT_THAT(row_of(html, "All images").at(1), HasSubstr("70.0"));
  EXPECT_THAT(html, Not(HasSubstr("id=\"training\"")));
  std::filesystem::remove(folder_.path() / "results.json");
  EXPECT_THAT([&] { read_run(folder_.path()); }, ThrowsMessage<Error>(HasSubstr("a run that was measured")));
  EXPECT_THROW(report_html({}), Error);
}

TEST_F(ReportOfRun, BrokenLogLinesAreNamed) {
  for (const char* line : {"{\"kind\":3}\n", "nonsense\n", "{\"kind\":\"epoch\",\"epoch\":\"one\"}\n"}) {
    write_file(folder_.path() / "metrics.jsonl", std::string("{\"kind\":\"other\"}\n") + line);
    try {
      read_run(folder_.path());
      ADD_FAILURE() << "accepted " << line;
    } catch (const Error& problem) {
      EXPECT_THAT(problem.what(), HasSubstr("metrics.jsonl:2"));
    }
  }
}

TEST(Html, EscapesAndRepairs) {
  EXPECT_EQ(escape("<a href=\"x\">R&D's</a>"), "&lt;a href=&quot;x&quot;&gt;R&amp;D&#39;s&lt;/a&gt;");
  EXPECT_EQ(escape(std::string("a\x01\xFF z\0", 6)), "a\uFFFD\uFFFD z\uFFFD");
  EXPECT_EQ(escape("naïve 🙂"), "naïve 🙂");
}

TEST(Html, NumbersHaveSensibleDigits) {
  EXPECT_EQ(per_cent(0.5424), "54.2\u202F%");
  EXPECT_EQ(points(-0.0312), "−3.1");
  EXPECT_EQ(points(0.00001), "±0.0");
  EXPECT_EQ(whole(1234567), "1,234,567");
  EXPECT_EQ(whole(999), "999");
  EXPECT_EQ(per_cent_plain(std::numeric_limits<double>::quiet_NaN()), "–");
}

TEST(Charts, LinesLeaveOutWhatWasNotRecorded) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string html = line_chart({"Loss", "epoch", false, {{"loss", {1, 2, 3}, {3, nan, 1}}}});
  EXPECT_THAT(html, HasSubstr("points=\"0.00,0.00 100.00,100.00 \""));
  EXPECT_THAT(line_chart({"Loss", "epoch", false, {{"loss", {1}, {nan}}}}), HasSubstr("nothing was recorded"));
  // Few points, such as 1, 4 and 16 shots, are named where they are.
  const std::string shots = line_chart({"a", "shots", true, {{"coop", {1, 4, 16}, {0.1, 0.2, 0.3}}}});
  EXPECT_THAT(shots,
              testing::AllOf(HasSubstr("left:20.00%\">4<"), HasSubstr("left:100.00%\">16<"), Not(HasSubstr(">6<"))));
  EXPECT_THAT(line_chart({"Loss", "epoch", false, {{"loss", {1}, {0.3}}}}), Not(HasSubstr("nan")));
}

TEST(Charts, EmptyCellsOfAHeatMapAreNotDrawn) {
  const std::string svg = heat_map({{"a", "b"}, {{5, 0}, {1, 3}}});
  EXPECT_THAT(svg, HasSubstr("b named a: 1 of 4 (25\u202F%)"));
  EXPECT_THAT(svg, Not(HasSubstr("a named b")));
}

TEST(Charts, ScalesEndOnRoundNumbers) {
  EXPECT_DOUBLE_EQ(track_top(0.43), 0.6);
  EXPECT_DOUBLE_EQ(track_top(0.99), 1);
  EXPECT_DOUBLE_EQ(track_top(0), 1);
}

}  // namespace
}  // namespace attune

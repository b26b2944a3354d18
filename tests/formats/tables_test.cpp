#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/formats/csv.h"
#include "attune/formats/event_file.h"
#include "attune/formats/npy.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kData;

TEST(Csv, ReadsQuotesLineEndsAndMarks) {
  const auto rows = parse_csv(
      "\xEF\xBB\xBF"
      "a,b,c\r\n\"x,1\",\"say \"\"hi\"\"\", y \n\n\"two\r\nlines\",,\"\"\nlast",
      "t");
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_THAT(rows[0].fields, ElementsAre("a", "b", "c"));
  EXPECT_THAT(rows[1].fields, ElementsAre("x,1", "say \"hi\"", " y "));
  EXPECT_THAT(rows[2].fields, ElementsAre("two\r\nlines", "", ""));
  EXPECT_THAT(rows[3].fields, ElementsAre("last"));
  EXPECT_EQ(rows[1].line, 2);
  EXPECT_EQ(rows[2].line, 4);
  EXPECT_EQ(rows[3].line, 6);
  EXPECT_TRUE(parse_csv("", "t").empty());
  EXPECT_THAT(parse_csv("a,", "t").at(0).fields, ElementsAre("a", ""));
}

TEST(Csv, ErrorsNameTheLine) {
  EXPECT_THAT([] { parse_csv("a\n\"b\nc", "t.csv"); }, ThrowsMessage<Error>(HasSubstr("t.csv:2: expected a closing")));
  EXPECT_THAT([] { parse_csv("a\nb\"c\n", "t.csv"); }, ThrowsMessage<Error>(HasSubstr("t.csv:2: ")));
  EXPECT_THAT([] { parse_csv("\"a\"b\n", "t.csv"); }, ThrowsMessage<Error>(HasSubstr("t.csv:1: expected a comma")));
  EXPECT_THROW(parse_csv(std::string("a\0b", 3), "t.csv"), Error);
  EXPECT_THROW(parse_csv(std::string(5000, ','), "t.csv"), Error);
  EXPECT_THAT([] { read_csv("/missing/t.csv"); }, ThrowsMessage<Error>(HasSubstr("t.csv")));
}

TEST(Csv, FieldsRoundTrip) {
  const std::vector<std::string> fields = {"plain", "a,b", "\"", "two\nlines", "", " spaces ", "\r"};
  std::string line;
  for (const std::string& field : fields) line += (line.empty() ? "" : ",") + csv_field(field);
  EXPECT_EQ(parse_csv(line, "t").at(0).fields, fields);
}

TEST(Npy, ReadsWhatNumpyWrites) {
  const NpyFile file(kData / "float.npy");
  EXPECT_EQ(file.tensor().shape, (std::vector<std::int64_t>{2, 3}));
  float values[6];
  std::memcpy(values, file.tensor().bytes.data(), sizeof values);
  EXPECT_EQ(values[5], 5.0F);
  EXPECT_EQ(NpyFile(kData / "integer.npy").tensor().type, DType::kI64);
  EXPECT_TRUE(NpyFile(kData / "scalar.npy").tensor().shape.empty());
  for (const char* name : {"fortran.npy", "big_endian.npy", "object.npy"}) {
    EXPECT_THAT([&] { NpyFile file(kData / name); }, ThrowsMessage<Error>(HasSubstr(name)));
  }
}

TEST(Npy, WritesTheBytesOfNumpy) {
  const TemporaryFolder folder;
  for (const char* name : {"float.npy", "integer.npy", "scalar.npy"}) {
    const NpyFile file(kData / name);
    write_npy(folder.path() / name, file.tensor());
    EXPECT_EQ(read_file(folder.path() / name), read_file(kData / name)) << name;
  }
  const std::vector<float> values = {1, 2};
  write_npy(folder.path() / "v.npy", values, {2, 1});
  EXPECT_EQ(NpyFile(folder.path() / "v.npy").tensor().shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_THROW(write_npy(folder.path() / "v.npy", values, {3}), Error);
  const TensorView brain{DType::kBF16, {4}, std::as_bytes(std::span(values))};
  EXPECT_THROW(write_npy(folder.path() / "v.npy", brain), Error);
}

TEST(Npy, EveryTruncationAndChangeIsRefused) {
  const std::string whole = read_file(kData / "float.npy");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(parse_npy(std::as_bytes(std::span(whole.data(), size)), "x.npy"), Error);
  }
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string copy = whole;
    copy.replace(copy.find(from), from.size(), to);
    return copy;
  };
  for (const std::string& file : {with("(2, 3)", "(2, 4)"), with("(2, 3)", "(-2,3"), with("(2, 3)", "(2; 3)"),
                                  with("<f4", "<x4"), with("False", "True "), with("'shape'", "'shade'")}) {
    EXPECT_THROW(parse_npy(std::as_bytes(std::span(file)), "x.npy"), Error);
  }
}

TEST(EventFile, ChecksumGivesThePublishedValues) {
  // RFC 3720, appendix B.4.
  const std::string zeros(32, '\0'), ones(32, '\xff');
  std::string up(32, '\0');
  for (std::size_t i = 0; i < up.size(); ++i) up[i] = static_cast<char>(i);
  EXPECT_EQ(crc32c(std::as_bytes(std::span(zeros))), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::as_bytes(std::span(ones))), 0x62a8ab43U);
  EXPECT_EQ(crc32c(std::as_bytes(std::span(up))), 0x46dd794eU);
}

TEST(EventFile, RecordIsThatOfTensorboard) {
  EXPECT_EQ(tfrecord_frame(scalar_event(1700000000.5, 300, "coop/loss", 0.25F)), read_file(kData / "event.bin"));
}

TEST(EventFile, HoldsOneFramePerEventInOrder) {
  const TemporaryFolder folder;
  EventWriter first(folder.path() / "run");
  first.add_scalar("loss", 0, 1.5);
  first.add_scalar("loss", 1, std::numeric_limits<double>::quiet_NaN());
  first.flush();
  EventWriter second(folder.path() / "run", 2);
  EXPECT_NE(first.path(), second.path());
  EXPECT_THAT(first.path().filename().string(), HasSubstr("events.out.tfevents."));
  const auto frames = [](const std::filesystem::path& path) {
    const std::string content = read_file(path);
    std::vector<std::string> found;
    for (std::size_t at = 0; at < content.size();) {
      std::uint64_t length = 0;
      std::memcpy(&length, content.data() + at, sizeof length);
      found.push_back(content.substr(at + 12, length));
      EXPECT_EQ(content.substr(at, length + 16), tfrecord_frame(found.back()));
      at += length + 16;
    }
    return found;
  };
  const auto events = frames(first.path());
  ASSERT_EQ(events.size(), 3U);
  EXPECT_THAT(events[0], HasSubstr("brain.Event:2"));
  EXPECT_THAT(events[1], HasSubstr("loss"));
  EXPECT_EQ(frames(second.path()).size(), 2U);
  write_file(folder.path() / "file", "x");
  EXPECT_THROW(EventWriter(folder.path() / "file" / "below"), Error);
}

}  // namespace
}  // namespace attune

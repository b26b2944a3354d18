#include "attune/formats/safetensors.h"

#include <cstring>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/formats/bytes.h"
#include "attune/formats/tensor_source.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kData;

std::string file_with(const std::string& header, std::size_t data) {
  std::string file;
  append_little_endian(file, static_cast<std::uint64_t>(header.size()));
  return file + header + std::string(data, '\1');
}

struct Parsed {
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;
};
Parsed parse(const std::string& file) {
  Parsed parsed;
  parse_safetensors(std::as_bytes(std::span(file)), "x.safetensors", parsed.tensors, parsed.metadata);
  return parsed;
}
void expect_refused(const std::string& file, const std::string& text) {
  EXPECT_THAT([&] { parse(file); },
              ThrowsMessage<Error>(testing::AllOf(testing::StartsWith("x.safetensors"), HasSubstr(text))))
      << file.substr(8, 100);
}

TEST(Safetensors, ReadsWhatTheReferenceWrites) {
  const SafetensorsFile file(kData / "reference.safetensors");
  EXPECT_EQ(file.tensors().size(), 17U);
  const TensorView& b = file.at("b");
  EXPECT_EQ(b.type, DType::kF32);
  EXPECT_EQ(b.shape, (std::vector<std::int64_t>{2, 3}));
  float values[6];
  ASSERT_EQ(b.bytes.size(), sizeof values);
  std::memcpy(values, b.bytes.data(), sizeof values);
  EXPECT_EQ(values[5], 5.0F);
  EXPECT_TRUE(file.at("a").bytes.empty());
  EXPECT_TRUE(file.at("scalar").shape.empty());
  EXPECT_TRUE(file.contains("q\"uote\n\xC3\xA9\xE2\x82\xAC\x01\x7f"));
  EXPECT_EQ(file.metadata().at("note"), "line\n\"q\" \xC3\xA9\\/\x01");
  EXPECT_THAT([&] { file.at("none"); }, ThrowsMessage<Error>(HasSubstr("tensor none")));
}

TEST(Safetensors, WritesTheBytesOfTheReference) {
  const TemporaryFolder folder;
  for (const char* name : {"reference.safetensors", "plain.safetensors"}) {
    const SafetensorsFile file(kData / name);
    write_safetensors(folder.path() / name, file.tensors(), file.metadata());
    EXPECT_EQ(read_file(folder.path() / name), read_file(kData / name)) << name;
  }
}

TEST(Safetensors, AcceptsPaddingEmptyFilesAndUnknownMembers) {
  EXPECT_TRUE(parse(file_with("{}", 0)).tensors.empty());
  EXPECT_TRUE(parse(file_with("{}      ", 0)).tensors.empty());
  EXPECT_EQ(
      parse(file_with(R"({"__metadata__":{"a":"b"},"w":{"dtype":"I8","shape":[2],"data_offsets":[0,2],"x":1}})", 2))
          .tensors.at("w")
          .bytes.size(),
      2U);
  EXPECT_EQ(parse(file_with(R"({"e":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}})", 0))
                .tensors.at("e")
                .shape[0],
            0);
}

TEST(Safetensors, RefusesBrokenHeaders) {
  expect_refused("", "found 0 bytes");
  expect_refused(std::string(9, '\0'), "found 9 bytes");
  expect_refused(std::string(8, '\xff') + "{}", "at most 2 bytes");
  expect_refused(file_with(" {}", 0), "starts with {");
  expect_refused(file_with("[]", 0), "starts with {");
  expect_refused(file_with("{ ", 0), "JSON header");
  expect_refused(file_with("{}x", 0), "JSON header");
  expect_refused(file_with("{\"\xff\":1}", 0), "JSON header");
  expect_refused(file_with(R"({"a":{"b":{"c":{"d":{"e":1}}}}})", 0), "nested");
  expect_refused(file_with(std::string(100000, '{'), 0), "JSON header");
  expect_refused(file_with("{\"a\":" + std::string(100000, '['), 0), "nested");
  expect_refused(file_with(R"({"__metadata__":{"a":1}})", 0), "to be a string");
  expect_refused(file_with(R"({"__metadata__":[]})", 0), "object of strings");
}

TEST(Safetensors, RefusesBrokenTensors) {
  const auto one = [](const std::string& entry, std::size_t data) { return file_with("{\"w\":" + entry + "}", data); };
  expect_refused(one("1", 0), "an object");
  expect_refused(one(R"({"shape":[1],"data_offsets":[0,4]})", 4), "dtype");
  expect_refused(one(R"({"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]})", 1), "found F8_E4M3");
  expect_refused(one(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})", 4), "shape");
  expect_refused(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4), "whole numbers");
  expect_refused(one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", 4), "whole numbers");
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})", 4), "two data_offsets");
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4), "4 bytes within");
  expect_refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4), "8 bytes within");
  expect_refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 4), "8 bytes within");
  expect_refused(one(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]})", 0), "2^64");
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", 8), "begin at 0");
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})", 5), "4 bytes of data");
  expect_refused(
      file_with(
          R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]}})",
          3),
      "begin at 2");
  expect_refused(
      file_with(
          R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"I8","shape":[1],"data_offsets":[3,4]}})",
          4),
      "begin at 2");
  expect_refused(
      file_with(
          R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})",
          1),
      "twice");
  expect_refused(one(R"({"dtype":"I8","dtype":"U8","shape":[1],"data_offsets":[0,1]})", 1), "twice");
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string whole = read_file(kData / "reference.safetensors");
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_THROW(parse(whole.substr(0, size)), Error) << size;
}

TEST(Safetensors, WriterRefusesWhatItCannotWriteAndLeavesTheFormerFile) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "w.safetensors";
  const std::string data(4, 'x');
  const TensorView good{DType::kF32, {1}, std::as_bytes(std::span(data))};
  write_safetensors(path, {{"w", good}}, {});
  const std::string former = read_file(path);
  TensorView bad = good;
  bad.shape = {2};
  EXPECT_THAT([&] { write_safetensors(path, {{"w", bad}}, {}); }, ThrowsMessage<Error>(HasSubstr("8 bytes")));
  bad.shape = {-1};
  EXPECT_THROW(write_safetensors(path, {{"w", bad}}, {}), Error);
  EXPECT_THROW(write_safetensors(path, {{"\xff", good}}, {}), Error);
  EXPECT_THROW(write_safetensors(path, {{"w", good}}, {{"k", "\xff"}}), Error);
  EXPECT_THROW(write_safetensors(path, {{"__metadata__", good}}, {}), Error);
  EXPECT_EQ(read_file(path), former);
}

TEST(TensorSource, FindsFilesAndShards) {
  const TemporaryFolder folder;
  const auto& root = folder.path();
  const std::string data(4, 'x');
  const TensorView view{DType::kF32, {1}, std::as_bytes(std::span(data))};
  EXPECT_THAT([&] { TensorSource source(root); }, ThrowsMessage<Error>(HasSubstr("model.safetensors.index.json")));
  write_safetensors(root / "s-1.safetensors", {{"a", view}}, {{"format", "pt"}});
  write_safetensors(root / "s-2.safetensors", {{"b", view}, {"c", view}}, {});
  const auto index = root / "model.safetensors.index.json";
  write_file(index, R"({"weight_map": {"a": "s-1.safetensors", "b": "s-2.safetensors"}})");
  const TensorSource shards(root);
  EXPECT_EQ(shards.tensors().size(), 2U);
  EXPECT_EQ(shards.at("b").bytes.size(), 4U);
  EXPECT_EQ(shards.metadata().at("format"), "pt");
  EXPECT_THAT([&] { shards.at("c"); }, ThrowsMessage<Error>(HasSubstr("tensor c")));
  for (const char* broken :
       {R"({"weight_map": {"q": "s-1.safetensors"}})", R"({"weight_map": {"a": "none.safetensors"}})",
        R"({"weight_map": {"a": "../s-1.safetensors"}})", R"({"weight_map": {"a": 1}})", R"({"weight_map": {}})",
        R"({})", R"([])", "{", "\"\xff\""}) {
    write_file(index, broken);
    EXPECT_THROW(TensorSource source(root), Error) << broken;
  }
  write_safetensors(root / "model.safetensors", {{"z", view}}, {});
  EXPECT_TRUE(TensorSource(root).contains("z"));
  write_safetensors(root / "open_clip_model.safetensors", {{"y", view}}, {});
  EXPECT_TRUE(TensorSource(root, "open_clip_model").contains("y"));
  EXPECT_TRUE(TensorSource(root / "s-2.safetensors").contains("c"));
}

}  // namespace
}  // namespace attune

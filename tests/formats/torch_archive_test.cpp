#include "attune/formats/torch_archive.h"

#include <cstring>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/formats/pickle.h"
#include "attune/formats/zip.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kData;
using Shape = std::vector<std::int64_t>;

template <class T = float>
std::vector<T> values(const ArchiveTensor& tensor) {
  std::vector<T> out(tensor.bytes.size() / sizeof(T));
  std::memcpy(out.data(), tensor.bytes.data(), out.size() * sizeof(T));
  return out;
}

void check_checkpoint(const TorchArchive& archive) {
  const auto& t = archive.tensors;
  EXPECT_EQ(t.at("state_dict.prompt_learner.ctx").shape, (Shape{2, 4}));
  EXPECT_THAT(values(t.at("state_dict.prompt_learner.ctx")), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(t.at("state_dict.half").type, DType::kF16);
  EXPECT_EQ(t.at("state_dict.half").shape, (Shape{3, 2}));
  EXPECT_EQ(values<std::uint16_t>(t.at("state_dict.half"))[1], 0x3c00);
  EXPECT_EQ(t.at("state_dict.view").shape, (Shape{2, 3}));
  EXPECT_THAT(values(t.at("state_dict.view")), ElementsAre(6, 8, 10, 12, 14, 16));
  EXPECT_EQ(t.at("state_dict.transposed").shape, (Shape{6, 4}));
  EXPECT_EQ(values(t.at("state_dict.transposed"))[1], 6.0F);
  EXPECT_THAT(values(t.at("state_dict.parameter")), ElementsAre(1, 1, 1));
  EXPECT_THAT(values(t.at("state_dict.expanded")), ElementsAre(7, 7, 7, 7, 7, 7));
  EXPECT_EQ(t.at("state_dict.empty").shape, (Shape{0, 5}));
  EXPECT_TRUE(t.at("state_dict.number").shape.empty());
  EXPECT_THAT(values<std::int64_t>(t.at("state_dict.number")), ElementsAre(3));
  EXPECT_EQ(t.at("state_dict.flags").type, DType::kBool);
  EXPECT_EQ(t.at("state_dict.bf16").type, DType::kBF16);
  EXPECT_EQ(values<std::uint16_t>(t.at("state_dict.bf16"))[0], 0x3f80);
  EXPECT_THAT(values<std::int64_t>(t.at("list.1")), ElementsAre(5));
  const auto& v = archive.values;
  EXPECT_EQ(v.at("epoch"), Json(50));
  EXPECT_TRUE(v.at("val_result").is_null());
  EXPECT_EQ(v.at("name"), Json("CoOp \xC3\xA9"));
  EXPECT_EQ(v.at("rate"), Json(0.002));
  EXPECT_EQ(v.at("best"), Json(true));
  EXPECT_EQ(v.at("big"), Json(std::int64_t{1} << 40));
  EXPECT_EQ(v.at("negative"), Json(-7));
  EXPECT_EQ(v.at("list.2.0"), Json("x"));
  EXPECT_EQ(v.at("set.0"), Json(4));
  EXPECT_EQ(v.at("3"), Json("number key"));
  EXPECT_EQ(v.at("size.1"), Json(3));
  EXPECT_EQ(archive.inert.at("huge"), "int");
  EXPECT_EQ(archive.inert.at("device"), "torch.device");
}

TEST(TorchArchive, ReadsCheckpointsOfEveryForm) {
  for (const char* name : {"checkpoint.pt", "checkpoint_protocol4.pt", "sequential.pt"}) {
    SCOPED_TRACE(name);
    const TorchArchive archive = read_torch_archive_fully(kData / name);
    check_checkpoint(archive);
    const bool has_wide = archive.tensors.contains("state_dict.wide");
    EXPECT_EQ(has_wide, std::string_view(name) != "sequential.pt");
    if (has_wide) EXPECT_THAT(values<std::uint16_t>(archive.tensors.at("state_dict.wide")), ElementsAre(1, 2, 65535));
  }
}

TEST(TorchArchive, ReadsModulesFromScriptsAndPickles) {
  const Json expected = read_json(kData / "script.json");
  for (const char* name : {"script.pt", "script_half.pt", "whole_module.pt"}) {
    SCOPED_TRACE(name);
    const TorchArchive archive = read_torch_archive_fully(kData / name);
    EXPECT_EQ(archive.tensors.size(), expected.size());
    for (const auto& [key, pair] : expected.items()) {
      const ArchiveTensor& tensor = archive.tensors.at(key);
      EXPECT_EQ(Json(tensor.shape), pair[0]) << key;
      if (std::string_view(name) == "script_half.pt") {
        EXPECT_EQ(tensor.type, DType::kF16);
      } else {
        EXPECT_EQ(Json(values(tensor)), pair[1]) << key;
      }
    }
    EXPECT_EQ(archive.values.at("input_resolution"), Json(32));
    EXPECT_EQ(archive.values.at("scale"), Json(0.5));
  }
  EXPECT_TRUE(read_torch_archive(kData / "script.pt").contains("resblocks.0.linear.weight"));
}

TEST(TorchArchive, ReadsASingleTensorStoredOrDeflated) {
  for (const char* name : {"tensor.pt", "deflated.pt"}) {
    EXPECT_THAT(values(read_torch_archive(kData / name).at("root")), ElementsAre(0, 1, 2)) << name;
  }
}

TEST(TorchArchive, RunsNothing) {
  const TorchArchive archive = read_torch_archive_fully(kData / "hostile_system.pt");
  EXPECT_THAT(archive.inert.at("a"), HasSubstr(".system"));
  EXPECT_THAT(values(archive.tensors.at("w")), ElementsAre(1, 1));
  EXPECT_FALSE(std::filesystem::exists("attune-was-here"));
}

TEST(TorchArchive, ChecksSizesStridesAndStorages) {
  EXPECT_EQ(read_torch_archive(kData / "tensor_good.pt").at("root").bytes.size(), 8U);
  const std::pair<const char*, const char*> cases[] = {{"offset", "within a storage of 2"},
                                                       {"size", "within a storage of 2"},
                                                       {"stride", "within a storage of 2"},
                                                       {"overflow_size", "within a storage"},
                                                       {"overflow_stride", "within a storage"},
                                                       {"huge_expand", "four times"},
                                                       {"negative_size", "whole numbers"},
                                                       {"negative_stride", "whole numbers"},
                                                       {"negative_offset", "offset from 0"},
                                                       {"numel", "found 8 bytes"},
                                                       {"axes", "as many strides"},
                                                       {"missing_storage", "archive/data/9"},
                                                       {"parent_storage", "../data.pkl"},
                                                       {"complex", "torch.ComplexFloatStorage"},
                                                       {"beyond_64_bits", "offset from 0"}};
  for (const auto& [name, text] : cases) {
    const auto path = kData / (std::string("tensor_") + name + ".pt");
    EXPECT_THAT([&] { read_torch_archive(path); },
                ThrowsMessage<Error>(testing::AllOf(HasSubstr(path.filename().string()), HasSubstr(text))))
        << name;
  }
}

TEST(TorchArchive, EveryTruncationIsRefused) {
  for (const char* name : {"tensor.pt", "sequential.pt"}) {
    const std::string whole = read_file(kData / name);
    for (std::size_t size = 0; size < whole.size(); size += 7) {
      EXPECT_THROW(parse_torch_archive(std::as_bytes(std::span(whole.data(), size)), "cut.pt"), Error) << name << size;
    }
  }
}

TEST(TorchArchive, ChangedBytesNeverEscapeTheChecksum) {
  std::string whole = read_file(kData / "tensor_good.pt");
  const auto at = whole.find("FloatStorage");
  ASSERT_NE(at, whole.npos);
  whole[at] = 'X';
  EXPECT_THAT([&] { parse_torch_archive(std::as_bytes(std::span(whole)), "x.pt"); },
              ThrowsMessage<Error>(HasSubstr("checksum")));
}

TEST(TorchArchive, RefusesOtherFiles) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.pt";
  for (const std::string content : {"", "P", "PK", "hello", "\x80\x02N.", "{}"}) {
    write_file(path, content);
    EXPECT_THAT([&] { read_torch_archive(path); }, ThrowsMessage<Error>(HasSubstr("x.pt"))) << content;
  }
  EXPECT_THAT([&] { read_torch_archive(folder.path() / "none.pt"); }, ThrowsMessage<Error>(HasSubstr("none.pt")));
}

TEST(Pickle, RefusesBrokenStreams) {
  const std::pair<std::string, const char*> cases[] = {{"", "found the end"},
                                                       {".", "value on the stack"},
                                                       {"(.", "open mark"},
                                                       {"t.", "mark on the stack"},
                                                       {"Nb.", "value on the stack"},
                                                       {"(0t.", "mark on the stack"},
                                                       {"h\x05.", "memo at 5"},
                                                       {"N(a.", "value on the stack"},
                                                       {"NNa.", "list, a set"},
                                                       {"NNNs.", "dictionary"},
                                                       {"}(Nu.", "value for every key"},
                                                       {"X\xff\xff\xff\xff.", "found the end"},
                                                       {"X\x01" + std::string(3, '\0') + "\xff.", "UTF-8"},
                                                       {std::string("\x8d") + std::string(8, '\xff'), "found the end"},
                                                       {"I12x\n.", "within 64 bits"},
                                                       {"L99999999999999999999L\n.", "within 64 bits"},
                                                       {"cos\n", "end of a line"},
                                                       {"\x80\x06N.", "protocol"},
                                                       {"\x82\x01.", "0x82"},
                                                       {"NN\x93.", "two texts"},
                                                       {"(o.", "class after the mark"}};
  for (const auto& [stream, expected] : cases) {
    const std::string& text = stream;
    EXPECT_THAT([&] { Pickle(std::as_bytes(std::span(text)), "p"); }, ThrowsMessage<Error>(HasSubstr(expected)))
        << testing::PrintToString(text);
  }
}

TEST(Pickle, KeepsSharedAndCircularObjectsAsPlaces) {
  const std::string text =
      "]q\x01(h\x01h\x01"
      "e.";
  const Pickle pickle(std::as_bytes(std::span(text)), "p");
  EXPECT_THAT(pickle.root().items, ElementsAre(pickle.root_place(), pickle.root_place()));
}

TEST(Pickle, ReadsTheOldTextOpcodes) {
  const std::string text = "(lp0\nI01\naI-5\naL7L\naF2.5\naS'ab'\naV\xC3\xA9\nag0\na(dS'k'\nNsa.";
  const Pickle pickle(std::as_bytes(std::span(text)), "p");
  const auto& items = pickle.root().items;
  ASSERT_EQ(items.size(), 8U);
  EXPECT_EQ(pickle.at(items[0]).kind, PickleValue::Kind::kBool);
  EXPECT_EQ(pickle.at(items[1]).integer, -5);
  EXPECT_EQ(pickle.at(items[2]).integer, 7);
  EXPECT_EQ(pickle.at(items[3]).number, 2.5);
  EXPECT_EQ(pickle.at(items[4]).text, "ab");
  EXPECT_EQ(pickle.at(items[5]).text, "\xC3\xA9");
  EXPECT_EQ(items[6], pickle.root_place());
  EXPECT_EQ(pickle.at(items[7]).pairs.size(), 2U);
}

/// The older form around an object, for pickles that need no storage.
std::string sequential(const std::string& object) {
  return "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}." + object +
         "\x80\x02].";
}

TEST(TorchArchive, BombsAndCirclesAreRefused) {
  const auto read = [](const std::string& object) {
    const std::string file = sequential(object);
    return parse_torch_archive(std::as_bytes(std::span(file)), "x.pt");
  };
  EXPECT_EQ(read("K\x05.").values.at("root"), Json(5));
  EXPECT_THROW(read("]q\x01h\x01"
                    "a."),
               Error);
  std::string laughs = "K\x01";
  for (int i = 0; i < 40; ++i) laughs += "2\x86";
  EXPECT_THROW(read(laughs + "."), Error);
  std::string deep = "N";
  for (int i = 0; i < 100000; ++i) deep += "\x85";
  EXPECT_THROW(read(deep + "."), Error);
  // One long text under many names.
  std::string copies = "(X" + std::string("\0\0\x10\0", 4) + std::string(1 << 20, 'a') + "q\x01";
  for (int i = 0; i < 100000; ++i) copies += "h\x01";
  EXPECT_THROW(read(copies + "l."), Error);
}

TEST(Zip, RefusesBrokenDirectories) {
  const std::string whole = read_file(kData / "deflated.pt");
  const auto open = [](const std::string& bytes) {
    const ZipArchive zip(std::as_bytes(std::span(bytes)), "x.zip");
    std::vector<std::byte> buffer;
    for (const auto& [name, member] : zip.members()) zip.content(name, buffer);
  };
  EXPECT_NO_THROW(open(whole));
  EXPECT_THROW(open(""), Error);
  EXPECT_THROW(open(std::string(100, 'x')), Error);
  const auto central = whole.find("PK\x01\x02");
  const auto changed = [&](std::size_t offset, const std::string& bytes) {
    std::string copy = whole;
    return copy.replace(central + offset, bytes.size(), bytes);
  };
  const auto expect = [&](const std::string& bytes, const char* text) {
    EXPECT_THAT([&] { open(bytes); }, ThrowsMessage<Error>(HasSubstr(text))) << text;
  };
  expect(changed(8, std::string("\x01\x00", 2)), "encryption");
  expect(changed(10, std::string("\x09\x00", 2)), "method 9");
  expect(changed(16, "abcd"), "checksum");
  expect(changed(24, std::string("\x00\x00\x00\x7f", 4)), "once inflated");
  expect(changed(24, std::string("\x01\x00\x00\x00", 4)), "stated size");
  expect(changed(24, "\xff\xff\xff\xff"), "zip64");
  expect(changed(42, "\xf0\xff\xff\x7f"), "local header");
  expect(changed(46, "X"), "same name");
  expect(whole.substr(0, whole.size() - 1), "end of a central directory");
  // The second entry points to the content of the first.
  const auto second = whole.find("PK\x01\x02", central + 1);
  std::string overlapping = whole;
  overlapping.replace(second, 46, whole.substr(central, 46));
  EXPECT_THROW(open(overlapping), Error);
}

}  // namespace
}  // namespace attune

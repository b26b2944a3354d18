#include "attune/base/files.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "attune/base/error.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(Files, WriteThenReadGivesTheSameBytes) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "new" / "folder" / "a.bin";
  const std::string content("zero\0line\n\r\xFF", 12);
  write_file(path, content);
  EXPECT_EQ(read_file(path), content);
  write_file(path, "");
  EXPECT_EQ(read_file(path), "");
  EXPECT_EQ(entries(path.parent_path()), 1U);
}

TEST(Files, AFailedWriteLeavesTheFormerContentAndNothingElse) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a.txt";
  write_file(path, "former");
  EXPECT_THROW(write_file(path,
                          [](std::ostream& out) {
                            out << "half";
                            throw std::runtime_error("no more");
                          }),
               std::runtime_error);
  EXPECT_THROW(write_file(path, [](std::ostream& out) { out.setstate(std::ios::badbit); }), Error);
  EXPECT_EQ(read_file(path), "former");
  EXPECT_EQ(entries(folder.path()), 1U);
}

TEST(Files, WritingBesideAFileOrOverAFolderFails) {
  const TemporaryFolder folder;
  write_file(folder.path() / "file", "x");
  EXPECT_THROW(write_file(folder.path() / "file" / "below", "y"), std::runtime_error);
  fs::create_directories(folder.path() / "taken" / "inside");
  EXPECT_THROW(write_file(folder.path() / "taken", "y"), std::runtime_error);
  EXPECT_EQ(entries(folder.path()), 2U);
}

TEST(Files, ReadErrorsNameThePath) {
  const TemporaryFolder folder;
  EXPECT_THAT([&] { read_file(folder.path() / "missing"); }, ThrowsMessage<Error>(HasSubstr("missing")));
  EXPECT_THAT([&] { read_file(folder.path()); }, ThrowsMessage<Error>(HasSubstr("found a folder")));
  EXPECT_THAT([&] { MappedFile(folder.path() / "missing"); }, ThrowsMessage<Error>(HasSubstr("missing")));
  EXPECT_THAT([&] { MappedFile(folder.path()); }, ThrowsMessage<Error>(HasSubstr("found a folder")));
}

TEST(Files, ReadHoldsToItsLimit) {
  const TemporaryFolder folder;
  write_file(folder.path() / "a", std::string(100, 'x'));
  EXPECT_EQ(read_file(folder.path() / "a", 100).size(), 100U);
  EXPECT_THAT([&] { read_file(folder.path() / "a", 99); }, ThrowsMessage<Error>(HasSubstr("at most 99 bytes")));
  // A device has no size of its own; the limit holds while reading.
  EXPECT_THROW(read_file("/dev/zero", 1000), Error);
}

TEST(MappedFile, ShowsTheFileAndMoves) {
  const TemporaryFolder folder;
  write_file(folder.path() / "a", "hello");
  write_file(folder.path() / "empty", "");
  MappedFile first(folder.path() / "a");
  ASSERT_EQ(first.bytes().size(), 5U);
  MappedFile second(std::move(first));
  EXPECT_EQ(static_cast<char>(second.bytes()[1]), 'e');
  second = MappedFile(folder.path() / "empty");
  EXPECT_TRUE(second.bytes().empty());
  EXPECT_TRUE(MappedFile().bytes().empty());
}

TEST(Sha256, GivesThePublishedDigest) {
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const TemporaryFolder folder;
  write_file(folder.path() / "a", "abc");
  EXPECT_EQ(sha256_of_file(folder.path() / "a"), sha256("abc"));
}

TEST(TemporaryFolder, GoesAwayWithItsContent) {
  fs::path path;
  {
    const TemporaryFolder folder;
    path = folder.path();
    write_file(path / "a" / "b", "x");
    EXPECT_TRUE(fs::exists(path / "a" / "b"));
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(CacheFolder, FollowsTheEnvironment) {
  ::setenv("ATTUNE_CACHE", "/somewhere/own", 1);
  EXPECT_EQ(cache_folder(), "/somewhere/own");
  ::setenv("ATTUNE_CACHE", "", 1);
  ::setenv("XDG_CACHE_HOME", "/somewhere/shared", 1);
  EXPECT_EQ(cache_folder(), "/somewhere/shared/attune");
  ::unsetenv("XDG_CACHE_HOME");
  ::setenv("HOME", "/somewhere/home", 1);
  EXPECT_EQ(cache_folder(), "/somewhere/home/.cache/attune");
}

}  // namespace
}  // namespace attune

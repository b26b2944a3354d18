#include "attune/data/feature_cache.h"

#include <chrono>
#include <functional>
#include <signal.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "attune/base/random.h"
#include "tests/data/support.h"

namespace attune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kWidth = 6;
constexpr std::size_t kRecord = 32 + kWidth * 4 + 4;

ContentId id_of(std::uint64_t number) {
  ContentId id{};
  for (std::size_t i = 0; i < 8; ++i) id[i] = static_cast<std::uint8_t>(number >> (8 * i));
  id[31] = 7;
  return id;
}

std::vector<float> feature_of(std::uint64_t number) {
  KeyedRandom random(number, "feature");
  std::vector<float> feature(kWidth);
  for (float& value : feature) value = static_cast<float>(random.normal());
  return feature;
}

FeatureCache open(const TemporaryFolder& folder) {
  return FeatureCache(folder.path(), "model", "centre", kWidth);
}

void put_range(FeatureCache& cache, std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t i = begin; i < end; ++i) cache.put(id_of(i), feature_of(i).data());
}

/// How many of the features below `end` are known; every known one must be whole and right.
std::uint64_t known_of(const FeatureCache& cache, std::uint64_t end) {
  std::uint64_t known = 0;
  std::vector<float> found(kWidth);
  for (std::uint64_t i = 0; i < end; ++i) {
    if (!cache.get(id_of(i), found.data())) continue;
    ++known;
    EXPECT_EQ(found, feature_of(i));
  }
  return known;
}

/// Runs `work` in a process of its own, which ends without tidying up when `work` returns.
pid_t in_another_process(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  work();
  ::_exit(0);
}

TEST(FeatureCache, KeepsFeaturesAcrossOpenings) {
  const TemporaryFolder folder;
  {
    FeatureCache cache = open(folder);
    put_range(cache, 0, 10);
    EXPECT_EQ(known_of(cache, 20), 10U);  // also before they are written
    cache.put(id_of(3), feature_of(99).data());
  }
  FeatureCache cache = open(folder);
  EXPECT_EQ(cache.size(), 10);
  EXPECT_EQ(known_of(cache, 20), 10U);
  const std::vector<ContentId> ids = {id_of(9), id_of(15), id_of(0), id_of(16)};
  std::vector<float> rows(ids.size() * kWidth, -1.0F);
  EXPECT_THAT(cache.get(ids, rows.data()), ElementsAre(1U, 3U));
  EXPECT_EQ(std::vector<float>(rows.begin(), rows.begin() + kWidth), feature_of(9));
  EXPECT_EQ(rows[kWidth], -1.0F);
}

TEST(FeatureCache, SeparatesModelsViewsAndWidths) {
  const TemporaryFolder folder;
  FeatureCache cache = open(folder);
  put_range(cache, 0, 1);
  cache.flush();
  EXPECT_EQ(FeatureCache(folder.path(), "model", "view 1", kWidth).size(), 0);
  EXPECT_EQ(FeatureCache(folder.path(), "other", "centre", kWidth).size(), 0);
  EXPECT_EQ(FeatureCache(folder.path(), "model", "centre", kWidth + 1).size(), 0);
  EXPECT_EQ(FeatureCache(folder.path(), "modelc", "entre", kWidth).size(), 0);
  EXPECT_THROW(FeatureCache(folder.path(), "model", "centre", 0), UsageError);
  write_file(folder.path() / "other.txt", "kept");
  EXPECT_EQ(FeatureCache::clear(folder.path()), 5);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "other.txt"));
  EXPECT_EQ(open(folder).size(), 0);
}

TEST(FeatureCache, DropsATornEndAtEveryLengthAndGoesOn) {
  const TemporaryFolder folder;
  std::filesystem::path file;
  {
    FeatureCache cache = open(folder);
    put_range(cache, 0, 3);
    file = cache.file();
  }
  const std::string whole = read_file(file);
  ASSERT_EQ(whole.size(), 64 + 3 * kRecord);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_file(file, std::string_view(whole).substr(0, length));
    const std::uint64_t left = length < 64 ? 0 : (length - 64) / kRecord;
    {
      FeatureCache cache = open(folder);
      ASSERT_EQ(known_of(cache, 5), left) << length;
      put_range(cache, 0, 5);
    }
    FeatureCache cache = open(folder);
    ASSERT_EQ(known_of(cache, 5), 5U) << length;
    ASSERT_EQ(cache.damaged(), 0);
    ASSERT_EQ(std::filesystem::file_size(file), 64 + 5 * kRecord);
  }
}

TEST(FeatureCache, TreatsADamagedRecordAsAbsent) {
  const TemporaryFolder folder;
  std::filesystem::path file;
  {
    FeatureCache cache = open(folder);
    put_range(cache, 0, 3);
    file = cache.file();
  }
  const std::string whole = read_file(file);
  for (std::size_t at = 64; at < 64 + kRecord; ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    write_file(file, changed);
    FeatureCache cache = open(folder);
    ASSERT_EQ(known_of(cache, 3), 2U) << at;
    ASSERT_EQ(cache.damaged(), 1);
    put_range(cache, 0, 3);
    cache.flush();
    ASSERT_EQ(known_of(cache, 3), 3U);
  }
  for (std::size_t at = 0; at < 64; ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    write_file(file, changed);
    EXPECT_THAT(error_of([&] { open(folder); }), HasSubstr("another header")) << at;
  }
}

TEST(FeatureCache, SurvivesAWriterThatIsKilled) {
  const TemporaryFolder folder;
  for (int round = 0; round < 8; ++round) {
    const pid_t child = in_another_process([&] {
      FeatureCache cache = open(folder);
      for (std::uint64_t i = 0;; ++i) {
        cache.put(id_of(i % 4000), feature_of(i % 4000).data());
        if (i % 3 == 0) cache.flush();
      }
    });
    ASSERT_GT(child, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(10 + 15 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    FeatureCache cache = open(folder);
    EXPECT_EQ(known_of(cache, 4000), static_cast<std::uint64_t>(cache.size()));
    EXPECT_EQ(cache.damaged(), 0);
  }
  FeatureCache cache = open(folder);
  put_range(cache, 0, 50);
  cache.flush();
  EXPECT_EQ(known_of(open(folder), 50), 50U);
}

TEST(FeatureCache, TwoProcessesWriteAtOnceAndSeeEachOther) {
  const TemporaryFolder folder;
  FeatureCache cache = open(folder);
  const pid_t child = in_another_process([&] {
    FeatureCache own = open(folder);
    for (std::uint64_t i = 0; i < 300; i += 2) {
      own.put(id_of(i), feature_of(i).data());
      own.flush();
    }
  });
  ASSERT_GT(child, 0);
  for (std::uint64_t i = 1; i < 300; i += 2) {
    cache.put(id_of(i), feature_of(i).data());
    cache.flush();
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  cache.flush();
  EXPECT_EQ(known_of(cache, 300), 300U);
  EXPECT_EQ(std::filesystem::file_size(cache.file()), 64 + 300 * kRecord);
}

TEST(FeatureCache, ThreadsShareOneObject) {
  const TemporaryFolder folder;
  FeatureCache cache = open(folder);
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&cache, t] {
        std::vector<float> found(kWidth);
        for (std::uint64_t i = 0; i < 400; ++i) {
          const std::uint64_t number = (i * 7 + t * 100) % 400;
          if (cache.get(id_of(number), found.data())) {
            EXPECT_EQ(found, feature_of(number));
          } else {
            cache.put(id_of(number), feature_of(number).data());
          }
          if (i % 50 == t) cache.flush();
        }
      });
    }
  }
  EXPECT_EQ(known_of(cache, 400), 400U);
}

TEST(ContentIds, ReadAnUnchangedFileOnlyOnce) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "a.bin";
  write_file(file, "first");
  const auto past = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  std::filesystem::last_write_time(file, past);
  {
    ContentIds ids(folder.path());
    const ContentId id = ids.id_of(file);
    EXPECT_EQ(id, ids.id_of(file));
    EXPECT_EQ(ids.files_read(), 1);
    EXPECT_EQ(id[0], std::stoi(sha256(std::string_view("first")).substr(0, 2), nullptr, 16));
    ids.flush();
  }
  ContentIds ids(folder.path());
  const ContentId before = ids.id_of(file);
  EXPECT_EQ(ids.files_read(), 0);
  write_file(file, "other");  // of the same size, but of another time
  std::filesystem::last_write_time(file, past + std::chrono::seconds(1));
  EXPECT_NE(ids.id_of(file), before);
  EXPECT_THAT(error_of([&] { ids.id_of(folder.path() / "none"); }), HasSubstr("none"));
}

TEST(ContentIds, AnotherFileOfTheSameSizeAndTimeInItsPlaceIsReadAgain) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "a.bin";
  const auto past = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  write_file(file, "first");
  std::filesystem::last_write_time(file, past);
  ContentIds ids(folder.path());
  EXPECT_EQ(ids.hash_of(file), sha256(std::string_view("first")));
  write_file(folder.path() / "b.bin", "other");
  std::filesystem::last_write_time(folder.path() / "b.bin", past);
  std::filesystem::rename(folder.path() / "b.bin", file);
  EXPECT_EQ(ids.hash_of(file), sha256(std::string_view("other")));
}

TEST(ContentIds, DoNotRememberAFileThatHasJustChangedAndIgnoreABrokenMemory) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "a.bin";
  write_file(folder.path() / "content-ids.jsonl", "{\"torn\n[1,2,3,4]\n[\"a\",1,2,3,\"zz\"]\n");
  write_file(file, "first");
  ContentIds ids(folder.path());
  ids.id_of(file);
  ids.id_of(file);
  EXPECT_EQ(ids.files_read(), 2);
}

}  // namespace
}  // namespace attune

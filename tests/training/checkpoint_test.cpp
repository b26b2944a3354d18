#include "attune/training/checkpoint.h"

#include <fstream>

#include <gmock/gmock.h>

#include "attune/base/files.h"
#include "attune/training/pretrain_run.h"
#include "attune/training/run_log.h"
#include "tests/support/error_of.h"
#include "tests/support/mutations.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

Checkpoint example() {
  Checkpoint saved;
  saved.stage = 1;
  saved.epoch = 3;
  saved.step = 7;
  saved.total_steps = 99;
  saved.log_bytes = 12345;
  saved.best_epoch = 2;
  saved.best_accuracy = 0.1 + 0.2;
  saved.sums = {{"loss", 1.0 / 3.0}, {"accuracy", 0.7}};
  saved.fingerprint = "abc";
  saved.learner = {{"context", at::full({2, 3}, 0.5)}};
  saved.stage_state = {{"context.momentum", at::full({2, 3}, 0.25)}};
  return saved;
}

TEST(Checkpoint, ComesBackWithEveryNumber) {
  const TemporaryFolder folder;
  const Checkpoint saved = example();
  save_checkpoint(folder.path() / "c.safetensors", saved);
  const Checkpoint found = load_checkpoint(folder.path() / "c.safetensors");
  EXPECT_EQ(found.step, 7);
  EXPECT_EQ(found.total_steps, 99);
  EXPECT_EQ(found.log_bytes, 12345u);
  EXPECT_EQ(found.best_accuracy, 0.1 + 0.2);
  EXPECT_EQ(found.sums, saved.sums);
  EXPECT_TRUE(found.learner.at("context").equal(saved.learner.at("context")));
  EXPECT_TRUE(found.stage_state.at("context.momentum").equal(saved.stage_state.at("context.momentum")));
  EXPECT_TRUE(found.best.empty());
  save_tensors(folder.path() / "other.safetensors", {{"x", at::zeros({1})}});
  EXPECT_THAT([&] { load_checkpoint(folder.path() / "other.safetensors"); },
              ThrowsMessage<Error>(HasSubstr("checkpoint")));
}

void expect_a_place_in_a_run(const Checkpoint& read) {
  for (const std::int64_t count : {read.stage, read.epoch, read.step, read.total_steps}) EXPECT_GE(count, 0);
  EXPECT_GE(read.best_epoch, -1);
}

/// A file of tensors whose metadata `key` holds JSON, with a damaged copy of that JSON in its place.
struct MetadataFile {
  std::filesystem::path path;
  std::string key;
  TensorMap tensors = load_tensors(path);
  Json good = parse_json(SafetensorsFile(path).metadata().at(key), "good");

  void write(const Json& value) const { save_tensors(path, tensors, {{key, value.dump()}}); }
};

TEST(DamagedCheckpoint, IsAPlaceInARunOrRefusedWithAnError) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "last.safetensors";
  save_checkpoint(path, example());
  const std::string good = read_file(path);
  const int bytes = refusals(1500, [&](KeyedRandom& random) {
    std::ofstream(path, std::ios::binary) << damaged(good, random);
    expect_a_place_in_a_run(load_checkpoint(path));
  });
  EXPECT_GT(bytes, 500);
  std::ofstream(path, std::ios::binary) << good;
  const MetadataFile file{path, "attune.checkpoint"};
  const int values = refusals(300, [&](KeyedRandom& random) {
    file.write(damaged(file.good, random));
    expect_a_place_in_a_run(load_checkpoint(path));
  });
  EXPECT_GT(values, 100);
}

TEST(DamagedCheckpoint, NamesTheNumberThatIsNoPlaceInARun) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "last.safetensors";
  save_checkpoint(path, example());
  const MetadataFile file{path, "attune.checkpoint"};
  for (const char* key : {"stage", "epoch", "step", "total_steps", "log_bytes"}) {
    Json value = file.good;
    value[key] = -1;
    file.write(value);
    EXPECT_THAT(error_of([&] { load_checkpoint(path); }), testing::AllOf(HasSubstr(key), HasSubstr(path.string())));
  }
}

TEST(DamagedCheckpoint, OfAPreTrainingIsRefusedWithAnError) {
  const TemporaryFolder folder;
  const PretrainRun run(folder.path());
  run.save_checkpoint({1, 20, 30, 40, 2.5, 600, 0.5, 3}, {{"weight", at::ones({4})}});
  const MetadataFile file{folder.path() / "checkpoint.safetensors", "position"};
  const int refused = refusals(300, [&](KeyedRandom& random) {
    file.write(damaged(file.good, random));
    TensorMap tensors;
    const PretrainPosition read = run.load_checkpoint(tensors);
    for (const std::int64_t count : {read.stage, read.step, read.draws, read.samples}) EXPECT_GE(count, 0);
  });
  EXPECT_GT(refused, 100);
}

TEST(RunLog, IsOpenToOneWriterAtATime) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  {
    RunLog first(path, 0);
    first.write({{"step", 1}});
    EXPECT_EQ(first.flush(), 11);
    EXPECT_THAT(error_of([&] { RunLog(path, 0); }), testing::AllOf(HasSubstr(path.string()), HasSubstr("another")));
  }
  EXPECT_EQ(read_file(path), "{\"step\":1}\n");  // the one that was refused left it alone
  RunLog(path, 11);
}

}  // namespace
}  // namespace attune

#pragma once

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace attune {

/// The words of a training in a folder of `work` with these options.
using TrainWords =
    std::function<std::vector<std::string>(const std::string& out, const std::vector<std::string>& more)>;

/// Expects that a run which is killed in the middle and resumed leaves the adapter and the log of one that is not, and
/// that without `--resume` its folder is not taken.
inline void expect_same_bits_after_a_kill(const std::filesystem::path& work, const TrainWords& train,
                                          std::vector<std::string> more) {
  more.emplace_back("--no-test");
  ASSERT_EQ(run_attune(train("whole", more), work).status, 0);
  const std::filesystem::path log = work / "parts/metrics.jsonl";
  const Ending ending{[&] { return std::filesystem::exists(log) && std::filesystem::file_size(log) > 2000; }};
  EXPECT_NE(run_attune(train("parts", more), work, ending).status, 0);
  EXPECT_NE(run_attune(train("parts", more), work).status, 0) << "a used folder was taken";
  more.emplace_back("--resume");
  const Finished resumed = run_attune(train("parts", more), work);
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  for (const char* file : {"adapter/adapter_model.safetensors", "metrics.jsonl"}) {
    EXPECT_EQ(read_file(work / "parts" / file), read_file(work / "whole" / file)) << file;
  }
}

}  // namespace attune

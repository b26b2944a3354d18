#pragma once

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <signal.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <sys/wait.h>

#include "attune/base/files.h"

namespace attune {

/// What a run of the program left behind.
struct Finished {
  int status = -1;  // exit code, or -1 where a signal ended it
  std::string out, err;
};

/// Sends the program a signal when `due`, which is asked again and again.
struct Ending {
  std::function<bool()> due;
  int signal = SIGKILL;
};

/// Runs the built program with a cache folder of its own.
inline Finished run_attune(const std::vector<std::string>& arguments, const std::filesystem::path& folder,
                           const Ending& ending = {}) {
  const std::filesystem::path out = folder / "stdout", err = folder / "stderr";
  std::vector<std::string> words = {ATTUNE_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> raw;
  for (std::string& word : words) raw.push_back(word.data());
  raw.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("ATTUNE_CACHE", (folder / "cache").c_str(), 1);
    if (std::freopen(out.c_str(), "w", stdout) == nullptr || std::freopen(err.c_str(), "w", stderr) == nullptr)
      ::_exit(126);
    ::execv(raw[0], raw.data());
    ::_exit(127);
  }
  int status = 0;
  bool sent = !ending.due;
  while (::waitpid(child, &status, sent ? 0 : WNOHANG) == 0) {
    if (ending.due()) {
      ::kill(child, ending.signal);
      sent = true;
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
}

}  // namespace attune

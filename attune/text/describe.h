#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "attune/base/log.h"
#include "attune/text/descriptions.h"

namespace attune {

/// What a language model is asked about a class, and what its answers are.
struct Questions {
  std::vector<std::string> texts;  // with {} for the name
  /// Earlier questions and answers that show the form, a question first.
  std::vector<std::string> examples = {};
  bool lists = false;  // an answer is a list of descriptors, else a sentence or a few
  int samples = 1;     // answers to each question
  double temperature = 0;
  int most_tokens = 100;
  std::string stop = {};  // empty: none
};

/// "menon": one question for a list of visual features behind two worked examples, greedy, 100 tokens (Menon and
/// Vondrick 2023, section 2.1). "cupl": three questions that suit any data, ten answers each at temperature 0.99, 50
/// tokens, up to the first full stop (Pratt et al. 2023, "base"). Settings are the authors', wording is ours. Throws
/// UsageError on another name.
Questions questions_named(std::string_view style);

/// Where and how to ask.
struct Endpoint {
  std::string url;        // up to and with the version, such as http://localhost:8080/v1; /chat/completions is added
  std::string model;      // as the server knows it
  std::string key;        // sent as a bearer token; empty: none is sent
  int retries = 5;        // of a request that failed for now
  double first_wait = 1;  // seconds before the first retry; doubles with each, at most 60
  double a_minute = 0;    // requests at most; 0: no limit
  double timeout = 120;   // seconds of a request
  std::filesystem::path cache;  // folder of the answers; empty: none is kept
  std::uint64_t seed = 1;       // sent, and another answer in the cache
};

struct Described {
  Descriptions descriptions;
  std::int64_t asked = 0, cached = 0;  // answers
  bool stopped = false;                // on a request to stop; the cache has the answers until then
};

/// Asks for every class, in their order. Answers come from the cache where they are there. Failures that may pass (no
/// connection, 408, 429, 5xx) are tried again, after the time that the server names or ever longer ones. Throws Error
/// that names the endpoint, and never the key, where one stays, for other refusals, and for answers that are no chat
/// completion.
Described ask_about(const std::vector<std::string>& classes, const Questions& questions, const Endpoint& endpoint,
                    Progress* progress = nullptr);

}  // namespace attune

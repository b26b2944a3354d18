#pragma once

#include <string>
#include <vector>

#include "attune/methods/prompt_sets.h"
#include "attune/training/inputs.h"

namespace attune {

/// Where on a picture the prompts of its class find what they describe.
struct PictureTransport {
  std::string class_name, path, domain;
  std::string picture;                       // what the model sees of it, as a data URI
  std::int64_t side = 0;                     // cells a row and rows of cells
  std::vector<std::vector<double>> prompts;  // [M][cells], shares of a prompt's mass; each sums to 1
};

/// How the mass of a class's prompts goes to the sentences about it.
struct SentenceTransport {
  std::string class_name;
  std::vector<std::string> sentences;
  std::vector<std::vector<double>> plan;        // [M][K], sums to 1
  std::vector<std::vector<double>> similarity;  // [M][K], cosines
};

struct Transports {
  std::vector<PictureTransport> pictures;
  std::vector<SentenceTransport> sentences;
  std::string no_sentences;  // why there are none; empty where there are, or where the method has none
};

/// One picture of each of the first `most` classes (0: all) that have one among `inputs`, and the sentences about them.
Transports look_at_transports(Classifier& classifier, TransportsCells& cells, Inputs& inputs, const Dataset& dataset,
                              const Preprocess& preprocess, std::size_t most);

}  // namespace attune

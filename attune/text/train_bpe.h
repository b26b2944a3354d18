#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attune/text/tokenizer.h"

namespace attune {

/// Byte-pair encoding learned from texts (Sennrich et al. 2016, on bytes): starting from 256 bytes and 256 bytes that
/// end a word, the pair that is most frequent in the words becomes a new entry, until there are `vocabulary` entries;
/// among equals the pair with the smaller ids. The last two ids are <|startoftext|> and <|endoftext|>. Depends on
/// nothing but the words' counts. Texts that run out of pairs give a smaller vocabulary. Throws UsageError where
/// `vocabulary` is below 514.
Tokenizer train_tokenizer(const std::vector<std::string>& texts, std::int64_t vocabulary);

}  // namespace attune

#include "attune/training/run_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace attune {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SplitList, DropsEmptyPiecesAndSpacesAroundThem) {
  EXPECT_THAT(split_list("a,b c,d"), ElementsAre("a", "b c", "d"));
  EXPECT_THAT(split_list(" a, b  c ,,d ,  "), ElementsAre("a", "b  c", "d"));
  EXPECT_THAT(split_list(""), IsEmpty());
  EXPECT_THAT(split_list(" , "), IsEmpty());
}

}  // namespace
}  // namespace attune

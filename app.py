"""The review app's entry. Start: xray-debug review --run DIR"""

import sys

from xray_debug.review.pages.navigation import main
from xray_debug.stages.registry import STAGES

main(sys.argv[1:], tuple(STAGES.values()))

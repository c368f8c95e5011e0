"""The review app's entry. Start: xray-debug review --run DIR"""

import sys

from xray_debug.review.pages.shell import main

main(sys.argv[1:])

"""Applies a patch, following delta/FORMAT.md and nothing else of the project: `delta_decoder.py OLD PATCH NEW`.

It is for checking, not for use: it holds both images in memory, and takes about a second for some thousand bytes that
changed.
"""

import bisect
import hashlib
import pathlib
import sys

import delta_fields as fields
from delta_fields import KINDS, M32

VERSION = 2
DIGEST_BYTES = 8
IMAGE_BYTES_MAX = 1 << 28


class Malformed(Exception):
    """A patch that is none, or is not for this base."""


def signed32(value):
    value &= M32
    return value - (1 << 32) if value >> 31 else value


def unzigzag(number):
    return signed32(number >> 1 ^ -(number & 1))


def divided(number, by):
    """Division that cuts off towards zero."""
    return number // by if number >= 0 else -(-number // by)


# --- The header ------------------------------------------------------------------------------------------------------

WORDS = {0: 1344, 1: 3392, 2: 7488}
LITERALS = [128, 256, 384, 512, 768, 1024, 2048, 4096]
REGIONS_MAX, WINDOWS_MAX = 8, 4


class Header:
    def __init__(self, patch):
        self.patch, self.at = patch, 0
        first, tables = self.take(2)
        options = self.take(1)[0] if first & 16 else 0
        if first >> 5 != VERSION or options & ~7 or first & 7 >= len(fields.ARCHITECTURES) or tables >> 6 not in WORDS:
            raise Malformed("the header is of another version")
        self.architecture = fields.ARCHITECTURES[first & 7]
        self.words = WORDS[tables >> 6]
        self.has_few = tables >> 6 == 0
        self.literals = LITERALS[tables >> 3 & 7]
        self.substitution_bits = 6 + (tables & 7) if tables & 7 else 0
        self.page_bits = self.spare_pages = self.block_bits = self.first = None
        if options & 6 == 4:
            raise Malformed("a sequence of pages is told, but of none")
        if options & 2:
            sizes, self.spare_pages = self.take(2)
            self.page_bits = 8 + (sizes >> 4)
            if options & 4:
                self.first = (sizes & 15) << 4 | self.spare_pages & 15
                self.spare_pages >>= 4
            elif sizes & 15:
                self.block_bits = self.page_bits + (sizes & 15) - 1
            if self.spare_pages == 0 or self.first is None and self.page_bits + (sizes & 15) > 28:
                raise Malformed("the pages are out of bounds")
        digest_bytes = 32 if options & 1 else DIGEST_BYTES
        self.base_digest, self.target_digest = self.take(digest_bytes), self.take(digest_bytes)
        size = self.number()
        self.target_size = size >> 1
        self.base_size = self.target_size + (unzigzag(self.number()) if size & 1 else 0) & M32
        if max(self.base_size, self.target_size) > IMAGE_BYTES_MAX:
            raise Malformed("an image is too large")
        self.regions, self.windows = [], []
        self.pointers_first = False
        if self.architecture is not fields.Plain:
            self.pointers_first = first & 8 != 0
            self.space()

    def take(self, count):
        taken = self.patch[self.at:self.at + count]
        if len(taken) < count:
            raise Malformed("it ends in its header")
        self.at += count
        return taken

    def number(self):
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        return value & M32

    def space(self):
        counts = self.take(1)[0]
        if counts & 15 > REGIONS_MAX or counts >> 4 > WINDOWS_MAX:
            raise Malformed("too many regions")
        base_start = target_start = 0
        for index in range(counts & 15):
            if index > 0:
                base_start = min(base_start + self.number(), M32)
                target_start = min(max(base_start + unzigzag(self.number()), 0), M32)
            address = int.from_bytes(self.take(4), "little")
            self.regions.append([address, base_start, target_start, 0])
        end = self.base_size
        for region in reversed(self.regions):
            region[3] = max(end - region[1], 0)
            end = region[1]
        for _ in range(counts >> 4):
            low, high, count = self.take(3)
            self.windows.append((low | high << 8, count))

    def of_base(self, at):
        return self.address(at, 1)

    def of_target(self, at):
        return self.address(at, 2)

    def address(self, at, start):
        for region in reversed(self.regions):
            if at >= region[start]:
                return at - region[start] + region[0] & M32
        return at

    def base_at(self, address):
        if not self.regions:
            return address
        for start, base_start, _, length in self.regions:
            if address - start & M32 < length:
                return (address - start & M32) + base_start
        return None

    def holds(self, value):
        return value >= 0x400 and (any(value - start & M32 < length for start, _, _, length in self.regions)
                                   or any((value >> 16) - start & M32 < count for start, count in self.windows))


# --- The coder -------------------------------------------------------------------------------------------------------

class Coder:
    def __init__(self, stream):
        self.stream, self.at = stream, 4
        self.range, self.value = M32, int.from_bytes(stream[:4].ljust(4, b"\0"), "big")

    def code(self, one):
        """Reads a decision whose probability of a one is `one` / 65536."""
        bound = (self.range >> 16) * one + ((self.range & 0xFFFF) * one >> 16)
        bit = self.value < bound
        if bit:
            self.range = bound
        else:
            self.value = self.value - bound & M32
            self.range -= bound
        while self.range < 1 << 24:
            byte = self.stream[self.at] if self.at < len(self.stream) else 0
            self.at += 1
            self.value = (self.value << 8 | byte) & M32
            self.range = self.range << 8 & M32
        return int(bit)


# --- Chances ---------------------------------------------------------------------------------------------------------

EVEN = 2048 << 4
RATES = [43690, 26214, 18724, 14563, 11915, 10082, 8738, 7710, 6898, 6241, 5461, 4369, 3640, 2978, 2340, 1820]
SQUASHED = [22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921, 2446, 3108,
            3938, 4971, 6249, 7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511, 47911,
            50941, 53581, 55834, 57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974,
            65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514]
TRUST = [0, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]
WEIGHT_ONE = 8192


def squash(at):
    index, part = at + 2048 >> 6, at + 2048 & 63
    return SQUASHED[index] * (64 - part) + SQUASHED[index + 1] * part >> 6


def stretched_table():
    """Inverse of squash for 0 to 127, then for 128, 144 and so on to 2048."""
    table, d = [], -2047
    for at in range(249):
        one = at if at < 128 else at - 120 << 4
        while d < 0 and squash(d) < (one << 4 | 8):
            d += 1
        table.append(d)
    return table


STRETCHED = stretched_table()


def stretched_low(one):
    if one < 128:
        return STRETCHED[one]
    low, high = STRETCHED[120 + (one >> 4)], STRETCHED[121 + (one >> 4)]
    return low + ((high - low) * (one & 15) >> 4)


STRETCH = [-stretched_low(4095 - one) if one >= 2048 else stretched_low(one) for one in range(4096)]


def learned(chance, bit, lessons_max):
    lessons, now = chance & 15, chance >> 4
    step = ((4095 if bit else 0) - now) * RATES[lessons] + 0x8000 >> 16
    return min(max(now + step, 1), 4095) << 4 | (lessons + 1 if lessons < lessons_max else lessons)


# --- Words of the state ----------------------------------------------------------------------------------------------

ALIGNMENTS = MOVEMENTS = 6
NUMBER_WORDS = 24 + 3 * 8
HIT_AT = 0
HIT_SOURCE_AT = HIT_AT + 12 * 4 * 2
FIELD_AT = HIT_SOURCE_AT + 6 * 4 * 2
FIELD_MORE_AT = FIELD_AT + KINDS * 8 * 2
FIELD_NEW_AT = FIELD_MORE_AT + 2 * 8
FIELD_OWN_AT = FIELD_NEW_AT + KINDS * 2
FIELD_NEAR_AT = FIELD_OWN_AT + KINDS * 2
DIFFERENCE_AT = FIELD_NEAR_AT + 2 * 32
FLOW_AT = DIFFERENCE_AT + 4 * 4 + 7
END_AT = FLOW_AT + 2 * 16
SEEK_AT = END_AT + 8
SIZED_AT = SEEK_AT + 2 * (ALIGNMENTS + 3)
HIT_AT_FIRST = 62000


class Slots:
    """Places of the chances that there are fewer of in 4 KiB."""

    def __init__(self, has_few):
        numbers = [0, 0, 1, 1] if has_few else [0, 1, 2, 3]
        self.seek_number, self.own_number, self.target_number, self.near_number = (
            SIZED_AT + at * NUMBER_WORDS for at in numbers)
        self.order_0 = SIZED_AT + (numbers[3] + 1) * NUMBER_WORDS
        self.lanes = 0 if has_few else 1
        self.operation = self.order_0 + 256 * (self.lanes + 1)
        self.operation_shift, self.byte_shift = (26, 26) if has_few else (24, 25)
        self.byte = self.operation + (1 << 32 - self.operation_shift)
        self.latest = self.byte + (1 << 32 - self.byte_shift)
        self.latest_misses = 1 if has_few else 7
        self.tables = self.latest + KINDS * 4 * (self.latest_misses + 1)


class Anchors:
    """Sorted addresses, how far each moved, and when that was learned."""

    def __init__(self, capacity):
        self.capacity, self.clock, self.addresses, self.movements, self.times = capacity, 0, [], [], []

    def below(self, address):
        return bisect.bisect_right(self.addresses, address)

    def told(self, address):
        """Movement and address of the pair at or below, movement of the one above, and whether the first is exact."""
        at = self.below(address)
        below, below_at = (self.movements[at - 1], self.addresses[at - 1]) if at else (None, 0)
        above = self.movements[at] if at < len(self.addresses) else None
        return below, below_at, above, at > 0 and below_at == address

    def insert(self, address, movement):
        if abs(movement) >= 1 << 23 or self.capacity == 0:
            return
        at = self.below(address)
        if at and self.addresses[at - 1] == address:
            self.clock += 1
            self.movements[at - 1], self.times[at - 1] = movement, self.clock >> 3 & 0xFF
            return
        if len(self.addresses) == self.capacity:
            leaves = self.least_wanted()
            for column in (self.addresses, self.movements, self.times):
                del column[leaves]
            at -= leaves < at
        self.clock += 1
        self.addresses.insert(at, address)
        self.movements.insert(at, movement)
        self.times.insert(at, self.clock >> 3 & 0xFF)

    def least_wanted(self):
        now, oldest, most = self.clock >> 3, 0, 0
        for at in range(len(self.addresses)):
            if at and self.movements[at] == self.movements[at - 1]:
                return at
            age = now - self.times[at] & 0xFF
            if age > most:
                oldest, most = at, age
        return oldest

    def moved_to(self, address):
        nearest = None
        for start, movement in zip(self.addresses, self.movements):
            distance = address - start - movement & M32
            if distance < 4096 and (nearest is None or distance < nearest[0]):
                nearest = distance, movement
        return None if nearest is None else nearest[1]


def operation(architecture, data):
    """What the instruction that starts with these bytes does."""
    first, second = data[0], data[1]
    if architecture in (fields.Thumb, fields.Avr):
        return second
    if architecture is fields.Arm64:
        return data[3]
    if architecture is fields.Xtensa:
        return first & 15 | second & 0xF0
    if architecture is fields.RiscV:
        if first & 3 == 3:
            return first & 0x7C | second >> 4 & 3 | second << 1 & 0x80
        return first & 3 | second & 0xE0 | second << 2 & 0x10
    return first


def moved_to_front(items, at, value):
    """Takes the entry at a place out, and puts a value before all others."""
    del items[at]
    items.insert(0, value)


def blocks(header):
    """Starts and ends of the pieces of the target that are made from low to high, the one that is made first at the end."""
    size = header.target_size
    if header.block_bits is None:
        return [(0, size)]
    step = 1 << header.block_bits
    return [(start, min(start + step, size)) for start in range(0, max(size, 1), step)]


def page_numbers(header):
    """Per page of the target, how many are made before it."""
    if header.page_bits is None:
        return []
    pages = [page for start, end in reversed(blocks(header))
             for page in range(start >> header.page_bits, -(-end >> header.page_bits))]
    numbers = [0] * len(pages)
    for number, page in enumerate(pages):
        numbers[page] = number
    return numbers


class Sequence:
    """Pages in a sequence that the patch tells."""

    def __init__(self, pages, spare_pages):
        self.pages, self.begun, self.spares = pages, set(), [None] * spare_pages
        self.page = 0

    def holds(self, page):
        """Whether a page of the base is there now."""
        return page >= self.pages or page not in self.begun or page in self.spares


class Patch:
    """A patch being applied."""

    def __init__(self, base, patch):
        self.header = Header(patch)
        header = self.header
        if len(base) != header.base_size or not hashlib.sha256(base).digest().startswith(header.base_digest):
            raise Malformed("the base is not the one that the patch is for")
        self.base, self.target = base, bytearray(header.target_size)
        self.blocks = blocks(header)
        self.position, self.block_end = self.blocks.pop()
        self.block_start = self.position
        self.numbers = page_numbers(header)
        self.coder = Coder(patch[header.at:])
        self.architecture = header.architecture
        self.words = [EVEN] * header.words
        for at in range(HIT_AT, FIELD_MORE_AT, 2):
            self.words[at:at + 2] = HIT_AT_FIRST, 2
        for at in range(HIT_AT, HIT_SOURCE_AT, 2):
            self.words[at] = 65536 - (65536 - HIT_AT_FIRST >> (at - HIT_AT) // 8 // 3)
        self.slots = Slots(header.has_few)
        self.substitutions_at = self.slots.tables + header.literals
        anchors_at = self.substitutions_at + (1 << header.substitution_bits if header.substitution_bits else 0)
        if anchors_at > header.words:
            raise Malformed("the tables are larger than the state")
        self.words[self.substitutions_at:] = [0] * (header.words - self.substitutions_at)
        anchors = (header.words - anchors_at) // 4
        self.told = None
        if header.first is not None:
            pages = -(-header.target_size >> header.page_bits)
            anchors -= -(-(3 + header.spare_pages + -(-pages // 16)) // 4)
            if anchors <= 0 or pages > 65534:
                raise Malformed("what is told of the pages leaves no room")
            self.told, self.told_chances = Sequence(pages, header.spare_pages), [EVEN, EVEN]
            self.blocks = []
            if pages:
                self.enter(pages * header.first >> 8, 0)
                self.position = self.block_start
        self.anchors = Anchors(anchors)
        self.latest = 0
        self.base_end = self.copy_end = 0
        self.alignments = [0] * ALIGNMENTS
        self.instruction_at = self.instruction_start = self.operation = 0
        self.run = self.misses = 0
        self.movements = [0] * MOVEMENTS
        self.field_misses = [0] * KINDS
        self.differences = [[0] * 4 for _ in range(4)]
        self.weights = [[WEIGHT_ONE * 3 // 10] * 5 for _ in range(8)]
        self.hit_weights = [[WEIGHT_ONE * 4 // 10] * 3 for _ in range(8)]
        self.field_weights = [[WEIGHT_ONE * 4 // 10] * 3 for _ in range(KINDS)]

    def apply(self):
        size = self.header.target_size
        literals, copying = 0, None
        ends = {"base": self.header.base_size, "target": size}
        while True:
            if self.position == self.block_end:
                if self.told and len(self.told.begun) < self.told.pages:
                    if not self.begin_page():
                        copying, literals = None, 0
                elif self.blocks:
                    self.begin_block()
                    copying, literals = None, 0
                else:
                    break
            if copying and copying[1] == ends[copying[0]]:
                self.end_copy(*copying[:2])
                copying, literals = None, 0
            if copying is None:
                slot = FLOW_AT + min(literals, 15) * 2 + (self.position & 1)
                if self.chance(slot, 13):
                    self.literal()
                    literals += 1
                    continue
                copying = (*self.seek(), 0)
                self.instruction_at = copying[1]
                if copying[0] == "base":
                    alignment = signed32(copying[1] - self.position)
                    known = self.alignments.index(alignment) if alignment in self.alignments else ALIGNMENTS - 1
                    moved_to_front(self.alignments, known, alignment)
            unit = self.copy(*copying)
            if unit is None:
                self.end_copy(*copying[:2])
                copying, literals = None, 0
                continue
            self.put(unit)
            origin, at, length = copying
            copying = origin, at + len(unit), length + len(unit)
        if self.coder.at < len(self.coder.stream):
            raise Malformed("it goes on after the end of the target")
        if not hashlib.sha256(self.target).digest().startswith(self.header.target_digest):
            raise Malformed("what it makes is not the target")
        return bytes(self.target)

    def put(self, unit):
        for byte in unit:
            self.latest = (self.latest << 8 | byte) & 0xFFFFFFFFFFFFFFFF
        self.target[self.position:self.position + len(unit)] = unit
        self.position += len(unit)

    # Blocks and pages

    def begin_block(self):
        self.block_start, self.block_end = self.blocks.pop()
        self.position = self.block_start
        self.base_end = self.position + self.alignments[0] & M32

    def enter(self, page, spare):
        self.told.page = page
        self.told.begun.add(page)
        self.told.spares[spare] = page
        bits = self.header.page_bits
        self.block_start = page << bits
        self.block_end = min(page + 1 << bits, self.header.target_size)

    def begin_page(self):
        """Begins the page that comes next; says whether it is the one behind."""
        told = self.told
        behind, spare_pages = told.page + 1, len(told.spares)
        follows = behind < told.pages and behind not in told.begun and self.told_chance(0)
        page = behind if follows else self.even(told.pages - 1)
        spare = (told.spares.index(told.page) + 1 if told.page in told.spares else 1) % spare_pages
        if not self.told_chance(1):
            spare = self.even(spare_pages - 1)
        if page >= told.pages or page in told.begun or spare >= spare_pages:
            raise Malformed("a page is out of bounds or told twice")
        self.enter(page, spare)
        if not follows:
            self.position = self.block_start
            self.base_end = self.position + self.alignments[0] & M32
        return follows

    def even(self, last):
        number = 0
        for _ in range(last.bit_length()):
            number = number << 1 | self.coder.code(32768)
        return number

    def told_chance(self, which):
        chance = self.told_chances[which]
        bit = self.coder.code(chance >> 4 << 4 | 8)
        self.told_chances[which] = learned(chance, bit, 13)
        return bit

    def is_there(self, at):
        """Whether the page of a byte of the base is there now."""
        bits = self.header.page_bits
        if self.told:
            return self.told.holds(at >> bits)
        if bits is None or at >> bits >= len(self.numbers):
            return True
        return self.numbers[at >> bits] + self.header.spare_pages > self.numbers[self.position >> bits]

    def stretch(self, at):
        """What is made of the target around a place."""
        if self.told:
            bits = self.header.page_bits
            if at >> bits == self.told.page:
                return self.block_start, self.position
            if at >> bits in self.told.begun:
                return at >> bits << bits, min((at >> bits) + 1 << bits, self.header.target_size)
            return at, at
        if at < self.block_end:
            return self.block_start, self.position
        return self.block_end, self.header.target_size

    # Decisions

    def chance(self, slot, lessons_max):
        chance = self.words[slot]
        bit = self.coder.code(chance >> 4 << 4 | 8)
        self.words[slot] = learned(chance, bit, lessons_max)
        return bit

    def fine(self, slot, lessons_max):
        bit = self.coder.code(min(max(self.words[slot], 2), 65534))
        self.learn_fine(slot, bit, lessons_max)
        return bit

    def learn_fine(self, slot, bit, lessons_max):
        high, low = self.words[slot:slot + 2]
        now, lessons = (high << 16 | low) >> 10, low & 0x3FF
        goal = (1 << 22) - 1 if bit else 0
        share = 2 * lessons + 3
        value = now + divided((goal - now) * 2 + (share - 1 if bit else 1 - share), share)
        value = value << 10 | (lessons + 1 if lessons < lessons_max else lessons)
        self.words[slot:slot + 2] = value >> 16 & 0xFFFF, value & 0xFFFF

    def mixed(self, fine, others, weights, rate, lessons_max):
        """Reads a decision under a fine chance and two others."""
        words = self.words
        inputs = [STRETCH[max(words[fine] >> 4, 1)]]
        inputs += [STRETCH[words[slot] >> 4] * TRUST[words[slot] & 15] >> 3 for slot in others]
        bit = self.mix(inputs, weights, rate)
        self.learn_fine(fine, bit, lessons_max)
        for slot in others:
            words[slot] = learned(words[slot], bit, 15)
        return bit

    def mix(self, inputs, weights, rate):
        total = divided(sum(one * weight for one, weight in zip(inputs, weights)), WEIGHT_ONE)
        probability = squash(min(max(total, -2047), 2047))
        bit = self.coder.code(probability)
        error = (bit << 16) - probability
        for index, one in enumerate(inputs):
            step = one * (error >> 4) * rate + (1 << 16) >> 17
            weights[index] = min(max(weights[index] + step, -32768), 32767)
        return bit

    def number(self, start):
        width = 0
        while width < 31 and self.chance(start + min(width, 23), 13):
            width += 1
        value = 1
        for below in range(width):
            if below < 2:
                slot = start + 24 + min(width - 1, 7) * 3 + (value & (1 << below) - 1) + below
                bit = self.chance(slot, 13)
            else:
                bit = self.coder.code(1 << 15)
            value = value << 1 | bit
        return value - 1

    # Literals

    def literal(self):
        position, unit = self.position, self.architecture.literal_bytes
        is_whole = position % unit == 0 and self.block_end - position >= unit
        length = unit if is_whole else 1
        beside_at = position + self.alignments[0] & M32
        beside = self.view("base", beside_at)[4:12] if beside_at < len(self.base) else bytes(8)
        before = self.latest
        if is_whole and unit > 1:
            # The latest bytes in the order in which units are coded: each unit turned round.
            latest = self.latest.to_bytes(8, "big")
            turned = b"".join(latest[at:at + unit][::-1] for at in range(0, 8, unit))
            before = int.from_bytes(turned, "big")
        out = bytearray(length)
        for at in reversed(range(length)):
            out[at] = self.byte(False, beside[at], position + at & 3, before)
            before = (before << 8 | out[at]) & 0xFFFFFFFFFFFFFFFF
        self.put(out)

    def byte(self, is_difference, beside, lane, before):
        b0, b1 = before & 0xFF, before >> 8 & 0xFF
        at = lane << 27
        if is_difference:
            keys = (b0 | 1 << 24 | at, beside | 4 << 24 | at, b0 | b1 << 8 | 2 << 24 | at, beside | b0 << 8 | 7 << 24)
        else:
            keys = (b0 | 1 << 24 | at, b1 | 5 << 24 | at, b0 | b1 << 8 | 2 << 24 | at, beside | 6 << 24 | at)
        contexts = []
        for key in keys:
            hashed = key * 0x9E3779B1 & M32
            contexts.append((hashed << 13 | hashed >> 19) & M32)
        weights, words, slots_of = self.weights[is_difference * 4 + lane], self.words, self.slots
        node = 1
        for _ in range(8):
            spread = node * 0x2545F491 & M32
            slots = [slots_of.order_0 + 256 * (lane & slots_of.lanes) + node]
            hashes = [((context ^ spread) * 0x85EBCA6B & M32) >> 16 for context in contexts]
            slots += [slots_of.tables + (hashed * self.header.literals >> 16) for hashed in hashes]
            inputs = [STRETCH[words[slot] >> 4] * TRUST[words[slot] & 15] >> 3 for slot in slots]
            bit = self.mix(inputs, weights, 6)
            for slot in slots:
                words[slot] = learned(words[slot], bit, 15)
            node = node << 1 | bit
        return node & 0xFF

    # Where copies come from

    def seek(self):
        position = self.position
        guesses = self.guesses()
        after_gap = int(self.copy_end != position)
        for index, guess in enumerate(guesses):
            if self.chance(SEEK_AT + index * 2 + after_gap, 13):
                return "base", guess
        if self.chance(SEEK_AT + (ALIGNMENTS + 2) * 2 + after_gap, 13):
            distance, behind = self.number(self.slots.own_number), position - self.block_start
            if self.told:
                at = position - 1 - distance + (self.header.target_size if distance >= position else 0)
            else:
                at = position - 1 - distance if distance < behind else self.block_end + distance - behind
            if at < 0 or at >= self.header.target_size:
                raise Malformed("it copies from outside the target")
            return "target", at
        expected = position + self.alignments[0]
        at = expected + unzigzag(self.number(self.slots.seek_number)) & M32
        if at >= len(self.base):
            raise Malformed("it copies from outside the base")
        return "base", at

    def guesses(self):
        position, header = self.position, self.header
        places = [self.base_end] + [position + alignment & M32 for alignment in self.alignments]
        address = header.of_target(position)
        moved = self.anchors.moved_to(address)
        if moved is not None:
            at = header.base_at(address - moved & M32)
            places += [] if at is None else [at]
        guesses = []
        for place in places:
            goes_on = place == self.base_end and self.copy_end == position
            if place < len(self.base) and not goes_on and place not in guesses:
                guesses.append(place)
        return guesses

    def end_copy(self, origin, at):
        if origin == "base":
            self.base_end, self.copy_end = at, self.position

    # Copies

    def view(self, origin, at):
        """Four bytes before a place and twelve from it on, zeros for what is not there."""
        if origin == "base":
            image, (start, end) = self.base, (0, len(self.base))
            if self.header.page_bits is not None:
                return bytes(image[place] if start <= place < end and self.is_there(place) else 0
                             for place in range(at - 4, at + 12))
        else:
            image, (start, end) = self.target, self.stretch(at)
        first, last = max(at - 4, start), min(at + 12, end)
        return (bytes(first - (at - 4)) + bytes(image[first:last])).ljust(16, b"\0")

    def copy(self, origin, at, length):
        position, header = self.position, self.header
        end = header.base_size if origin == "base" else self.stretch(at)[1]
        view = self.view(origin, at)
        if origin == "base" and 8 <= length < 16:
            address = header.of_base(at - length)
            if not self.anchors.told(address)[3]:
                self.anchors.insert(address, signed32(header.of_target(position - length) - address))
        data = view[4:12]
        is_instruction = at >= self.instruction_at
        if is_instruction:
            self.instruction_at = at + self.architecture.instruction_bytes(data)
            self.instruction_start, self.operation = at, operation(self.architecture, data)
        here = header.of_base(at) if origin == "base" else header.of_target(at)
        field = self.recognise(data, at, here, is_instruction)
        if field and field[1] > min(self.block_end - position, end - at):
            field = None
        unit = self.field(origin, field, view, at, here, length) if field else self.copied(origin, view, at, length > 0)
        if unit is not None:
            self.instruction_at = max(self.instruction_at, at + (len(unit) if len(unit) > 1 else 0))
        return unit

    def recognise(self, data, at, address, is_instruction):
        value = fields.word(data, 0)
        is_pointer = at % 4 == 0 and self.header.holds(value)
        if is_instruction and not (is_pointer and self.header.pointers_first):
            field = self.architecture.recognise(data, address)
            if field:
                return field
        return (fields.POINTER, 4, value) if is_pointer else None

    def copied(self, origin, view, at, may_end):
        byte, position = view[4], self.position
        places = self.places(origin, view, at)
        difference, source = self.expected(places)
        if self.hit(byte + difference & 0xFF, source, at):
            self.run += 1
            coded = byte + difference & 0xFF
        else:
            if may_end and self.ends():
                return None
            self.run = 0
            coded = self.missed(byte, difference, source)
        self.learn_substitution(places, coded - byte & 0xFF)
        self.misses = self.misses << 1 & M32 | (self.run == 0)
        return bytes([coded])

    def hit(self, guess, source, at):
        run = self.run if self.run < 4 else 11 if self.run >= 512 else self.run.bit_length() - 1 + 2
        if source == 0:
            slot = HIT_AT + (run * 4 + (self.misses & 3)) * 2
        else:
            slot = HIT_SOURCE_AT + ((source - 1) * 4 + min(run, 3)) * 2
        if run >= 7:
            return self.fine(slot, 1000)
        slots = self.slots
        key = self.operation << 2 | at - self.instruction_start & 3
        operation_at = slots.operation + ((key * 0x9E3779B1 & M32) >> slots.operation_shift)
        key = guess << 2 | self.position & 3
        byte_at = slots.byte + ((key * 0x9E3779B1 & M32) >> slots.byte_shift)
        return self.mixed(slot, [operation_at, byte_at], self.hit_weights[7 if source else run], 7, 1000)

    def ends(self):
        return self.chance(END_AT + (self.misses & 3) + 4 * (self.position & 1), 13)

    def missed(self, byte, difference, source):
        lane = self.position & 3
        if difference and self.chance(DIFFERENCE_AT + 16 + source, 13):
            return byte
        known = self.differences[lane]
        for index, candidate in enumerate(list(known)):
            if candidate not in (0, difference) and self.chance(DIFFERENCE_AT + lane * 4 + index, 13):
                moved_to_front(known, index, candidate)
                return byte + candidate & 0xFF
        coded = self.byte(True, byte, lane, self.latest)
        moved_to_front(known, 3, coded - byte & 0xFF)
        return coded

    # Substitutions

    def places(self, origin, view, at):
        bits = self.header.substitution_bits
        if not bits or origin == "target":
            return []
        read = lambda start, count: int.from_bytes(view[start:start + count], "little")
        if self.architecture in (fields.Plain, fields.Xtensa, fields.X86):
            word = read(2, 4) | 1 << 40
        else:
            word = read(4 - (at & 3), 4) | (at & 3) + 4 << 40
        keys = word, read(4, 2) | 2 << 40, read(4, 2) >> 5 | 3 << 40
        places = []
        for key in keys:
            hashed = key * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
            places.append((self.substitutions_at + (hashed >> 64 - bits), hashed >> 20 & 31))
        return places

    def expected(self, places):
        for (at, check), source in zip(places, (5, 3, 1)):
            entry = self.words[at]
            if entry & 7 and entry >> 3 & 31 == check:
                return entry >> 8, source + (entry & 7 > 2)
        return 0, 0

    def learn_substitution(self, places, difference):
        for at, check in places:
            entry = self.words[at]
            trust = entry & 7
            made = difference << 8 | check << 3
            if trust and entry >> 3 & 31 == check:
                if entry >> 8 == difference:
                    entry = entry & ~7 | min(trust + 1, 7)
                elif trust > 1 and difference == 0:
                    entry = entry & ~7 | min(trust - 1, 3)
                else:
                    entry = made | (difference != 0)
            elif difference:
                entry = entry & ~7 | trust - 1 if trust > 3 else made | 1
            self.words[at] = entry

    # Fields

    def field(self, origin, field, view, at, here, length):
        kind, size, target = field
        movements, contexts = self.candidates(origin, field, here, length)
        if origin == "target":
            is_first = self.chance(FIELD_OWN_AT + kind * 2, 15)
        else:
            context, near, latest = contexts
            others = FIELD_NEAR_AT + near + (32 if kind else 0), self.slots.latest + latest * KINDS + kind
            slot = FIELD_AT + (kind * 8 + context) * 2
            is_first = self.mixed(slot, others, self.field_weights[kind], 3, 400)
        if is_first:
            return self.settled(origin, field, view, movements[0], 0)
        if length > 0 and self.ends():
            return None
        if self.chance(FIELD_NEW_AT + kind * 2 + (self.misses & 1), 15):
            self.field_misses[kind] = self.field_misses[kind] << 1 & 0xFF | 1
            return self.copied(origin, view, at, False)
        for index in range(1, len(movements)):
            slot = FIELD_OWN_AT + kind * 2 + index if origin == "target" else FIELD_MORE_AT + min(kind, 1) * 8 + min(index, 8) - 1
            if self.chance(slot, 15):
                return self.settled(origin, field, view, movements[index], index)
        numbers_at = self.slots.target_number if size > 3 else self.slots.near_number
        farther = unzigzag(self.number(numbers_at)) * fields.unit(self.architecture, kind)
        return self.settled(origin, field, view, signed32(movements[0] + farther), None)

    def candidates(self, origin, field, here, length):
        kind, _, target = field
        header, position = self.header, self.position
        movements = []

        def add(movement):
            if movement is not None and movement not in movements and len(movements) < 3 + MOVEMENTS:
                movements.append(movement)

        is_absolute = kind in self.architecture.absolute
        shift = 0 if is_absolute else signed32(header.of_target(position) - here)
        if origin == "target":
            add(0)
            add(shift)
            return movements, None
        below, below_at, above, is_exact = self.anchors.told(target)
        is_brought = here - target & M32 <= length
        is_near = here + 2048 - target & M32 < 4096
        is_between = below is not None and below_at - here & M32 < 2048
        with_copy = not is_absolute and (is_brought or is_near and not is_between)
        if with_copy:
            add(shift)
        add(below)
        add(shift)
        add(above)
        for movement in self.movements:
            add(movement)
        agrees = is_brought if with_copy else below == above
        context = is_exact << 2 | agrees << 1 | (self.run >= 8)
        near = 7 if below is None else min((target - below_at & M32).bit_length() // 2, 7)
        near = near << 2 | (below == above) << 1 | (movements[0] == shift)
        misses = self.field_misses[kind] & self.slots.latest_misses
        latest = misses << 2 | (movements[0] == self.movements[0]) << 1 | with_copy
        return movements, (context, near, latest)

    def settled(self, origin, field, view, movement, index):
        kind, size, target = field
        unit = fields.relocated(self.architecture, kind, view[4:12], target + movement & M32,
                                self.header.of_target(self.position))[:size]
        self.run += 1
        self.misses = self.misses << 1 & M32
        if origin == "target":
            return unit
        missed = index != 0
        self.field_misses[kind] = self.field_misses[kind] << 1 & 0xFF | missed
        if missed and size > 2:
            self.anchors.insert(target, movement)
        if movement != 0:
            known = self.movements.index(movement) if movement in self.movements else MOVEMENTS - 1
            moved_to_front(self.movements, known, movement)
        return unit


def main():
    old, patch, new = map(pathlib.Path, sys.argv[1:])
    try:
        new.write_bytes(Patch(old.read_bytes(), patch.read_bytes()).apply())
    except Malformed as malformed:
        sys.exit(f"{patch}: {malformed}")


if __name__ == "__main__":
    main()

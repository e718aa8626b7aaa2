"""Fields of instructions and data that hold an address: recognised in the bytes of the old image, written for the new.

A field is a tuple (kind, length, target). Numbers of 32 bits wrap.
"""

M32 = 0xFFFFFFFF
PLAIN, THUMB, AVR, RISCV, XTENSA, ARM64, X86 = range(7)
POINTER = 0
KINDS = 8


def signed(value, bits):
    """Extends the sign of the lowest bits, modulo 2^32."""
    value &= (1 << bits) - 1
    return (value - (1 << bits)) & M32 if value >> (bits - 1) else value


def bits(value, at, count):
    return value >> at & ((1 << count) - 1)


def half(data, at):
    return data[at] | data[at + 1] << 8


def word(data, at):
    return half(data, at) | half(data, at + 2) << 16


def with_bytes(data, at, value, count):
    return data[:at] + (value & (1 << 8 * count) - 1).to_bytes(count, "little") + data[at + count:]


class Thumb:
    """Kinds: 1 BL, 2 wide branch, 3 MOVW and MOVT, 4 and 5 literal, 6 conditional or compare branch, 7 branch."""

    literal_bytes = 2
    absolute = (POINTER, 3)

    @staticmethod
    def unit(kind):
        return {4: 4, 5: 1}.get(kind, 2)

    @staticmethod
    def instruction_bytes(data):
        return 4 if half(data, 0) >> 11 >= 0x1D else 2

    @staticmethod
    def recognise(data, address):
        first, second = half(data, 0), half(data, 2)
        start = address + 4 & M32
        top = first >> 11
        if top == 0b01001:
            return 4, 2, (start & ~3) + ((first & 0xFF) << 2) & M32
        if top in (0b11010, 0b11011):
            if bits(first, 8, 4) < 14:
                return 6, 2, start + (signed(first & 0xFF, 8) << 1) & M32
            return None
        if top == 0b11100:
            return 7, 2, start + (signed(first & 0x7FF, 11) << 1) & M32
        if top in (0b10110, 0b10111) and first & 0xF500 == 0xB100:
            return 6, 2, start + (bits(first, 9, 1) << 6 | bits(first, 3, 5) << 1) & M32
        if top == 0b11110:
            if second & 0xD000 == 0xD000:
                return 1, 4, start + Thumb.wide(first, second) & M32
            if second & 0xD000 == 0x9000:
                return 2, 4, start + Thumb.wide(first, second) & M32
            if second & 0xD000 == 0x8000 and bits(first, 6, 4) < 14:
                return 2, 4, start + Thumb.conditional(first, second) & M32
            return Thumb.pair(data)
        if top == 0b11111 and first & 0xFF7F == 0xF85F:
            distance = second & 0xFFF
            return 5, 4, (start & ~3) + (distance if first & 0x80 else -distance) & M32
        return None

    @staticmethod
    def wide(first, second):
        sign = bits(first, 10, 1)
        i1, i2 = 1 ^ bits(second, 13, 1) ^ sign, 1 ^ bits(second, 11, 1) ^ sign
        return signed(sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1, 25)

    @staticmethod
    def conditional(first, second):
        high = bits(first, 10, 1) << 20 | bits(second, 11, 1) << 19 | bits(second, 13, 1) << 18
        return signed(high | (first & 0x3F) << 12 | (second & 0x7FF) << 1, 21)

    @staticmethod
    def pair(data):
        low, low2, high, high2 = (half(data, at) for at in (0, 2, 4, 6))
        are_moves = low & 0xFBF0 == 0xF240 and high & 0xFBF0 == 0xF2C0 and not (low2 | high2) & 0x8000
        if are_moves and bits(low2, 8, 4) == bits(high2, 8, 4):
            return 3, 8, Thumb.immediate(low, low2) | Thumb.immediate(high, high2) << 16
        return None

    @staticmethod
    def immediate(first, second):
        return (first & 15) << 12 | bits(first, 10, 1) << 11 | bits(second, 12, 3) << 8 | second & 0xFF

    @staticmethod
    def relocated(kind, data, target, address):
        first, second = half(data, 0), half(data, 2)
        start = address + 4 & M32
        distance = target - start & M32
        if kind == 4:
            return with_bytes(data, 0, first & 0xFF00 | (target - (start & ~3) & M32) >> 2 & 0xFF, 2)
        if kind == 7:
            return with_bytes(data, 0, first & 0xF800 | distance >> 1 & 0x7FF, 2)
        if kind == 6 and first >> 12 == 0xD:
            return with_bytes(data, 0, first & 0xFF00 | distance >> 1 & 0xFF, 2)
        if kind == 6:
            return with_bytes(data, 0, first & ~0x2F8 | bits(distance, 6, 1) << 9 | bits(distance, 1, 5) << 3, 2)
        if kind == 1 or kind == 2 and second & 0x1000:
            sign = bits(distance, 24, 1)
            j1, j2 = 1 ^ bits(distance, 23, 1) ^ sign, 1 ^ bits(distance, 22, 1) ^ sign
            data = with_bytes(data, 0, first & 0xF800 | sign << 10 | bits(distance, 12, 10), 2)
            return with_bytes(data, 2, second & 0xD000 | j1 << 13 | j2 << 11 | bits(distance, 1, 11), 2)
        if kind == 2:
            data = with_bytes(data, 0, first & ~0x43F | bits(distance, 20, 1) << 10 | bits(distance, 12, 6), 2)
            high = bits(distance, 18, 1) << 13 | bits(distance, 19, 1) << 11
            return with_bytes(data, 2, second & ~0x2FFF | high | bits(distance, 1, 11), 2)
        if kind == 5:
            ahead = target - (start & ~3) & M32
            is_back = ahead >> 31
            words = (-ahead if is_back else ahead) & 0xFFF
            data = with_bytes(data, 0, first & ~0x80 | (0 if is_back else 0x80), 2)
            return with_bytes(data, 2, second & 0xF000 | words, 2)
        return Thumb.immediate_to(Thumb.immediate_to(data, 0, target & 0xFFFF), 4, target >> 16)

    @staticmethod
    def immediate_to(data, at, value):
        first = half(data, at) & ~0x40F | bits(value, 12, 4) | bits(value, 11, 1) << 10
        second = half(data, at + 2) & ~0x70FF | bits(value, 8, 3) << 12 | value & 0xFF
        return with_bytes(with_bytes(data, at, first, 2), at + 2, second, 2)


class Avr:
    """Kinds: 1 CALL or JMP, 2 RCALL or RJMP, 3 LDS or STS, 4 branch, 5 two LDI. Data stand from 0x800000 on."""

    literal_bytes = 2
    absolute = (1, 3, 5)
    DATA = 0x800000

    @staticmethod
    def unit(kind):
        return 2 if kind in (1, 2, 4) else 1

    @staticmethod
    def instruction_bytes(data):
        first = half(data, 0)
        return 4 if first & 0xFE0C == 0x940C or first & 0xFC0F == 0x9000 else 2

    @staticmethod
    def recognise(data, address):
        first, second = half(data, 0), half(data, 2)
        start = address + 2
        if first in (0x940E, 0x940C):
            return 1, 4, second << 1
        if first & 0xFC0F == 0x9000:
            return 3, 4, Avr.DATA + second
        top = first >> 12
        if top in (0xC, 0xD):
            return 2, 2, start + (signed(first & 0xFFF, 12) << 1) & M32
        if top == 0xF and not first & 0x800:
            return 4, 2, start + (signed(bits(first, 3, 7), 7) << 1) & M32
        if top == 0xE and second >> 12 == 0xE and bits(first, 4, 4) + 1 == bits(second, 4, 4):
            return 5, 4, Avr.DATA + (Avr.byte_of(first) | Avr.byte_of(second) << 8)
        return None

    @staticmethod
    def byte_of(load):
        return bits(load, 8, 4) << 4 | load & 15

    @staticmethod
    def relocated(kind, data, target, address):
        first = half(data, 0)
        words = (target - address - 2 & M32) >> 1
        if kind == 1:
            return with_bytes(data, 2, target >> 1 & 0xFFFF, 2)
        if kind == 2:
            return with_bytes(data, 0, first & 0xF000 | words & 0xFFF, 2)
        if kind == 3:
            return with_bytes(data, 2, target & 0xFFFF, 2)
        if kind == 4:
            return with_bytes(data, 0, first & ~0x3F8 | (words & 0x7F) << 3, 2)
        for at, byte in ((0, target & 0xFF), (2, target >> 8 & 0xFF)):
            data = with_bytes(data, at, half(data, at) & 0xF0F0 | bits(byte, 4, 4) << 8 | byte & 15, 2)
        return data


class RiscV:
    """Kinds: 1 JAL, 2 AUIPC pair, 3 LUI pair, 4 branch, 5 C.J or C.JAL, 6 C.BEQZ or C.BNEZ."""

    literal_bytes = 1
    absolute = (POINTER, 3)
    STORE = 0x23

    @staticmethod
    def unit(kind):
        return 1 if kind == 2 else 2

    @staticmethod
    def instruction_bytes(data):
        return 4 if data[0] & 3 == 3 else 2

    @staticmethod
    def recognise(data, address):
        first = word(data, 0)
        opcode = first & 0x7F
        if opcode == 0x6F:
            high = bits(first, 31, 1) << 20 | bits(first, 12, 8) << 12 | bits(first, 20, 1) << 11
            return 1, 4, address + signed(high | bits(first, 21, 10) << 1, 21) & M32
        if opcode == 0x63:
            high = bits(first, 31, 1) << 12 | bits(first, 7, 1) << 11
            return 4, 4, address + signed(high | bits(first, 25, 6) << 5 | bits(first, 8, 4) << 1, 13) & M32
        if opcode in (0x17, 0x37):
            return RiscV.pair(data, address)
        if first & 3 == 1:
            return RiscV.compressed(half(data, 0), address)
        return None

    @staticmethod
    def pair(data, address):
        first, second = word(data, 0), word(data, 4)
        register, opcode = bits(first, 7, 5), second & 0x7F
        uses = bits(second, 12, 3) == 0 if opcode == 0x13 else opcode in (0x67, 0x03, RiscV.STORE)
        if register == 0 or bits(second, 15, 5) != register or not uses:
            return None
        low = bits(second, 25, 7) << 5 | bits(second, 7, 5) if opcode == RiscV.STORE else second >> 20
        value = (first & 0xFFFFF000) + signed(low, 12) & M32
        return (2, 8, address + value & M32) if first & 0x7F == 0x17 else (3, 8, value)

    @staticmethod
    def compressed(first, address):
        if first >> 13 == 0b101:
            high = bits(first, 12, 1) << 11 | bits(first, 8, 1) << 10 | bits(first, 9, 2) << 8
            low = bits(first, 7, 1) << 6 | bits(first, 2, 1) << 5 | bits(first, 11, 1) << 4
            return 5, 2, address + signed(high | bits(first, 6, 1) << 7 | low | bits(first, 3, 3) << 1, 12) & M32
        if first >> 13 in (0b110, 0b111):
            high = bits(first, 12, 1) << 8 | bits(first, 5, 2) << 6 | bits(first, 2, 1) << 5
            return 6, 2, address + signed(high | bits(first, 10, 2) << 3 | bits(first, 3, 2) << 1, 9) & M32
        return None

    @staticmethod
    def relocated(kind, data, target, address):
        first = word(data, 0)
        far = target - address & M32
        if kind == 1:
            high = bits(far, 20, 1) << 31 | bits(far, 12, 8) << 12
            return with_bytes(data, 0, first & 0xFFF | high | bits(far, 11, 1) << 20 | bits(far, 1, 10) << 21, 4)
        if kind == 4:
            high = bits(far, 12, 1) << 31 | bits(far, 11, 1) << 7
            return with_bytes(data, 0, first & 0x01FFF07F | high | bits(far, 5, 6) << 25 | bits(far, 1, 4) << 8, 4)
        if kind == 5:
            high = bits(far, 11, 1) << 12 | bits(far, 10, 1) << 8 | bits(far, 8, 2) << 9
            middle = bits(far, 7, 1) << 6 | bits(far, 6, 1) << 7 | bits(far, 5, 1) << 2
            low = bits(far, 4, 1) << 11 | bits(far, 1, 3) << 3
            return with_bytes(data, 0, first & 0xE003 | high | middle | low, 2)
        if kind == 6:
            high = bits(far, 8, 1) << 12 | bits(far, 6, 2) << 5 | bits(far, 5, 1) << 2
            return with_bytes(data, 0, first & 0xE383 | high | bits(far, 3, 2) << 10 | bits(far, 1, 2) << 3, 2)
        return RiscV.pair_to(data, far if kind == 2 else target)

    @staticmethod
    def pair_to(data, value):
        first, second = word(data, 0), word(data, 4)
        high = value + 0x800 & 0xFFFFF000
        low = value - high & M32
        if second & 0x7F == RiscV.STORE:
            second = second & 0x01FFF07F | bits(low, 5, 7) << 25 | bits(low, 0, 5) << 7
        else:
            second = second & 0xFFFFF | (low & 0xFFF) << 20
        return with_bytes(with_bytes(data, 0, first & 0xFFF | high, 4), 4, second, 4)


class Xtensa:
    """Kinds: 1 CALLn, 2 L32R, 3 J, 4 branch on zero, 5 other branches."""

    literal_bytes = 1
    absolute = (POINTER,)

    @staticmethod
    def unit(kind):
        return 4 if kind <= 2 else 1

    @staticmethod
    def instruction_bytes(data):
        return 2 if 8 <= data[0] & 15 < 14 else 3

    @staticmethod
    def recognise(data, address):
        first = word(data, 0) & 0xFFFFFF
        start = address + 4
        low = first & 15
        if low == 5:
            return 1, 3, (address & ~3) + 4 + (signed(bits(first, 6, 18), 18) << 2) & M32
        if low == 1:
            return 2, 3, (address + 3 & ~3) + ((first >> 8 | 0xFFFF0000) << 2) & M32
        if first & 0x3F == 0x06:
            return 3, 3, start + signed(bits(first, 6, 18), 18) & M32
        if first & 0x3F == 0x16:
            return 4, 3, start + signed(first >> 12, 12) & M32
        if low == 7 or first & 0x3F == 0x26:
            return 5, 3, start + signed(first >> 16, 8) & M32
        return None

    @staticmethod
    def relocated(kind, data, target, address):
        first = word(data, 0) & 0xFFFFFF
        distance = target - address - 4 & M32
        if kind == 1:
            words = (target - (address & ~3) - 4 & M32) >> 2
            return with_bytes(data, 0, first & 0x3F | (words & 0x3FFFF) << 6, 3)
        if kind == 2:
            words = (target - (address + 3 & ~3) & M32) >> 2
            return with_bytes(data, 0, first & 0xFF | (words & 0xFFFF) << 8, 3)
        if kind == 3:
            return with_bytes(data, 0, first & 0x3F | (distance & 0x3FFFF) << 6, 3)
        if kind == 4:
            return with_bytes(data, 0, first & 0xFFF | (distance & 0xFFF) << 12, 3)
        return with_bytes(data, 0, first & 0xFFFF | (distance & 0xFF) << 16, 3)


class Arm64:
    """Kinds: 1 B or BL, 2 ADRP pair, 3 ADRP, 4 conditional, compare and literal, 5 TBZ or TBNZ, 6 ADR."""

    literal_bytes = 4
    absolute = (POINTER,)

    @staticmethod
    def unit(kind):
        return 4 if kind in (1, 4, 5) else 1

    @staticmethod
    def instruction_bytes(_data):
        return 4

    @staticmethod
    def recognise(data, address):
        if address % 4:
            return None
        first = word(data, 0)
        if first & 0x7C000000 == 0x14000000:
            return 1, 4, address + (signed(first & 0x03FFFFFF, 26) << 2) & M32
        if first & 0x1F000000 == 0x10000000:
            return Arm64.page(data, address)
        if first & 0xFF000010 == 0x54000000 or first & 0x7E000000 == 0x34000000 or first & 0x3B000000 == 0x18000000:
            return 4, 4, address + (signed(bits(first, 5, 19), 19) << 2) & M32
        if first & 0x7E000000 == 0x36000000:
            return 5, 4, address + (signed(bits(first, 5, 14), 14) << 2) & M32
        return None

    @staticmethod
    def page(data, address):
        first, second = word(data, 0), word(data, 4)
        distance = signed(bits(first, 5, 19) << 2 | bits(first, 29, 2), 21)
        if first >> 31 == 0:
            return 6, 4, address + distance & M32
        start = (address & ~0xFFF) + (distance << 12) & M32
        scale = Arm64.scale(second, first & 31)
        if scale is None:
            return 3, 4, start
        return 2, 8, start + (bits(second, 10, 12) << scale) & M32

    @staticmethod
    def scale(second, register):
        if bits(second, 5, 5) != register:
            return None
        if second & 0xFFC00000 == 0x91000000:
            return 0
        if second & 0x3B000000 == 0x39000000:
            return 4 if second & 0x04800000 == 0x04800000 else second >> 30
        return None

    @staticmethod
    def relocated(kind, data, target, address):
        first = word(data, 0)
        words = (target - address & M32) >> 2
        if kind == 1:
            return with_bytes(data, 0, first & 0xFC000000 | words & 0x03FFFFFF, 4)
        if kind == 4:
            return with_bytes(data, 0, first & 0xFF00001F | (words & 0x7FFFF) << 5, 4)
        if kind == 5:
            return with_bytes(data, 0, first & 0xFFF8001F | (words & 0x3FFF) << 5, 4)
        if kind == 6:
            return with_bytes(data, 0, Arm64.with_split(first, target - address & M32), 4)
        data = with_bytes(data, 0, Arm64.with_split(first, (target >> 12) - (address >> 12) & M32), 4)
        second = word(data, 4)
        scale = Arm64.scale(second, first & 31)
        if kind == 2 and scale is not None:
            data = with_bytes(data, 4, second & ~(0xFFF << 10) | (target & 0xFFF) >> scale << 10, 4)
        return data

    @staticmethod
    def with_split(first, value):
        return first & 0x9F00001F | (value & 3) << 29 | bits(value, 2, 19) << 5


class X86:
    """Kinds: 1 CALL, 2 JMP, 3 Jcc, 4 operands relative to the instruction pointer."""

    literal_bytes = 1
    absolute = (POINTER,)

    @staticmethod
    def unit(_kind):
        return 1

    @staticmethod
    def instruction_bytes(_data):
        return 1

    @staticmethod
    def recognise(data, address):
        first, second, third = data[0], data[1], data[2]
        if first == 0xE8:
            kind, at = 1, 1
        elif first == 0xE9:
            kind, at = 2, 1
        elif first == 0x0F and 0x80 <= second <= 0x8F:
            kind, at = 3, 2
        elif first in (0x48, 0x4C) and second in (0x8B, 0x8D, 0x89, 0x39, 0x3B, 0x03, 0x63) and third & 0xC7 == 5:
            kind, at = 4, 3
        else:
            return None
        distance = word(data, at)
        if (distance + (1 << 24) & M32) > 2 << 24:
            return None
        return kind, at + 4, address + at + 4 + distance & M32

    @staticmethod
    def relocated(_kind, data, target, address):
        at = {0xE8: 1, 0xE9: 1, 0x0F: 2}.get(data[0], 3)
        return with_bytes(data, at, target - address - at - 4 & M32, 4)


class Plain:
    """No code at all."""

    literal_bytes = 1
    absolute = (POINTER,)

    @staticmethod
    def unit(_kind):
        return 1

    @staticmethod
    def instruction_bytes(_data):
        return 1

    @staticmethod
    def recognise(_data, _address):
        return None


ARCHITECTURES = [Plain, Thumb, Avr, RiscV, Xtensa, Arm64, X86]


def unit(architecture, kind):
    """Bytes that all movements of a kind are multiples of."""
    if kind == POINTER or kind in architecture.absolute and architecture is not Avr:
        return 1
    return architecture.unit(kind)


def relocated(architecture, kind, data, target, address):
    """The eight bytes of the source with the field pointing to `target` from `address`."""
    if kind == POINTER:
        return with_bytes(data, 0, target, 4)
    return architecture.relocated(kind, data, target, address)

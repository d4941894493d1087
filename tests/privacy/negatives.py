"""Texts full of numbers that are nobody's: what a detector must leave alone.

Order and tracking numbers in the forms of the large shops and carriers, amounts, times, ISBN and EAN with right check
digits, versions, coordinates, models, hashes, and what else looks alike.

Not here: whether a chance number is also a right bank card: some are, and count as mistakes.
"""

import hashlib
import uuid
from datetime import UTC, datetime
from random import Random

from tests.privacy.values import digits, each, letters, mobile


def moment(rng: Random) -> datetime:
    return datetime.fromtimestamp(rng.randrange(1_500_000_000, 1_790_000_000), UTC)


def order(rng: Random) -> str:
    day = moment(rng)
    return rng.choice(
        (
            rng.choice("1234") + digits(rng, 18),
            digits(rng, 12),
            f"{day:%y%m%d}-{digits(rng, 15)}",
            f"4200{digits(rng, 6)}{day:%Y%m%d}{digits(rng, 10)}",
            f"{day:%Y%m%d}22001{digits(rng, 15)}",
            f"{day:%Y%m%d%H%M%S}{digits(rng, 4)}",
            f"SO{day:%Y%m%d}{digits(rng, 5)}",
            f"{rng.choice('1234567890')}{digits(rng, 15)}",
            f"11{rng.choice('1234')}-{digits(rng, 7)}-{digits(rng, 7)}",
            f"#{digits(rng, rng.randint(4, 10))}",
        )
    )


def tracking(rng: Random) -> str:
    heads = (
        ("SF", 13),
        ("YT", 13),
        ("JDVA", 11),
        ("77", 13),
        ("78", 12),
        ("43", 11),
        ("75", 12),
        ("94001", 17),
        ("1Z999AA1", 10),
        ("", 12),
    )
    head, count = rng.choice(heads)
    return rng.choice((head + digits(rng, count), f"EA{digits(rng, 9)}CN"))


def amount(rng: Random) -> str:
    value = rng.choice((rng.uniform(1, 1e4), rng.uniform(1e4, 1e9), rng.uniform(1e10, 1e13)))
    return rng.choice(
        (
            f"¥{value:,.2f}",
            f"{value:.2f}元",
            f"{value:.0f}元",
            f"${value:,.2f}",
            f"{value:,.0f}",
            f"-{value:.4f}",
            f"{value:.3f}%",
            f"{mobile(rng)}.{digits(rng, 2)}元",
        )
    )


def time(rng: Random) -> str:
    when = moment(rng)
    stamp = str(int(when.timestamp()))
    shapes = (
        "%Y-%m-%d %H:%M:%S",
        "%Y%m%d%H%M%S",
        "%Y-%m-%dT%H:%M:%S.123Z",
        "%Y/%m/%d",
        "%Y年%m月%d日",
        "%d.%m.%Y",
        "%m-%d-%Y",
        "%H:%M:%S",
        "%Y%m%d",
    )
    return rng.choice((stamp, stamp + digits(rng, 3), *(when.strftime(one) for one in shapes)))


def isbn(rng: Random) -> str:
    body = rng.choice(("978", "979")) + digits(rng, 9)
    check = -sum(int(one) * (1, 3)[place % 2] for place, one in enumerate(body)) % 10
    whole = f"{body}{check}"
    short = digits(rng, 9)
    last = -sum(int(one) * (10 - place) for place, one in enumerate(short)) % 11
    parts = (whole[:3], "7", whole[4:7], whole[7:12], whole[12])
    return rng.choice(
        (whole, "-".join(parts), f"7-302-{short[:5]}-{'X' if last == 10 else last}", "690" + digits(rng, 10))
    )


def version(rng: Random) -> str:
    parts = [str(rng.randint(0, 30)) for _ in range(4)]
    return rng.choice(
        (
            f"v{'.'.join(parts)}",
            f"{parts[0]}.{parts[1]}.{parts[2]}",
            f"版本{'.'.join(parts)}",
            f"version {'.'.join(parts)}",
            f"{rng.randint(80, 130)}.0.{rng.randint(4000, 7000)}.{rng.randint(30, 300)}",
            f"react@{'.'.join(parts[:3])}",
            f"Python {'.'.join(parts)}",
            f"1.3.6.1.4.{'.'.join(parts)}",
            f"^{parts[0]}.{parts[1]}.0-rc.{parts[2]}",
        )
    )


def place(rng: Random) -> str:
    north, east = rng.uniform(3, 53), rng.uniform(73, 135)
    return rng.choice(
        (
            f"{north:.6f},{east:.6f}",
            f"({east:.11f}, {north:.11f})",
            f"{north:.4f}°N {east:.4f}°E",
            f"{rng.randint(1, 59)}°{rng.randint(1, 59)}'{rng.randint(1, 59)}\"",
        )
    )


def model(rng: Random) -> str:
    return rng.choice(
        (
            f"RTX {rng.randint(20, 50)}{rng.choice((60, 70, 80))}",
            f"Mate{rng.randint(20, 70)} Pro",
            f"GB/T {rng.randint(1000, 99999)}-2019",
            f"WH-1000XM{rng.randint(1, 6)}",
            f"DS-2CD{digits(rng, 4)}F-I",
            f"A{digits(rng, 4)}",
            f"part {digits(rng, 3)}-{digits(rng, 2)}-{digits(rng, 4)}",
            f"国标GB{digits(rng, 5)}",
            f"ThinkPad X1 Gen {rng.randint(5, 12)}",
            f"{letters(rng, 3, 'ABCDEF')}-{digits(rng, 5)}-{letters(rng, 2, 'XYZ')}",
            f"iPhone{rng.randint(8, 17)}新{rng.choice('SMX')}{digits(rng, 3)}",
        )
    )


def digest(rng: Random) -> str:
    raw = rng.randbytes(16)
    return rng.choice(
        (
            hashlib.md5(raw).hexdigest(),
            hashlib.sha1(raw).hexdigest(),
            hashlib.sha256(raw).hexdigest(),
            raw.hex()[:7],
            str(uuid.UUID(bytes=raw)),
            ":".join(f"{one:02x}" for one in raw[:6]),
            f"#{raw.hex()[:6]}",
            hashlib.sha512(raw).hexdigest(),
        )
    )


def other(rng: Random) -> str:
    return rng.choice(
        (
            rng.choice(each("10086 95588 12345 110 10010 12306")),
            f"{rng.randint(1, 9)}:{rng.randint(1, 59):02d}",
            f"{digits(rng, 6)}",
            f"QQ群{rng.choice('123456789')}{digits(rng, 8)}",
            f"第{rng.randint(1, 9)}.{rng.randint(1, 9)}.{rng.randint(1, 9)}.{rng.randint(1, 9)}节",
            f"IMG_{moment(rng):%Y%m%d_%H%M%S}.jpg",
            f"{rng.randint(1, 99)}×{rng.randint(1, 99)}={rng.randint(1, 9999)}",
            f"CA{digits(rng, 4)}航班",
            f"logo@{rng.randint(2, 3)}x.png",
            f"3.{digits(rng, 20)}",
            f"{rng.choice((0, rng.randint(20, 999)))}.{mobile(rng)}",
            f"房间号400-{digits(rng, 3)}-{digits(rng, 4)}",
            f"新{rng.choice('ABCD')}{rng.randint(1, 9)}0000元",
            f"{digits(rng, 3)} {digits(rng, 3)} {digits(rng, 3)}",
            f"std::map<int, A{rng.randint(1, 9)}::B>",
            f"86{digits(rng, 13)}",
            "password: required",
            "token=None",
            "Bearer of good news today",
            f"0x{letters(rng, 16, '0123456789abcdef')}",
            f"{digits(rng, 4)}-{digits(rng, 4)}学年",
        )
    )


KINDS = {
    "orders": (
        order,
        (
            "订单号{}什么时候发货",
            "订单{}申请退款",
            "{}这单还没到",
            "Where is order {}?",
            "order no. {} is late",
            "单号：{}",
        ),
    ),
    "tracking": (
        tracking,
        ("快递单号{}", "{}显示已签收", "tracking number {} please", "物流{}没更新", "My parcel {} is lost"),
    ),
    "amounts": (amount, ("一共{}", "转账{}到哪了", "the total was {}", "余额为{}，不对", "{} charged twice")),
    "times": (time, ("在{}下的单", "{}系统报错", "since {} nothing works", "时间：{}", "at {}, the server restarted")),
    "isbn": (isbn, ("ISBN {}", "书号{}有货吗", "do you have {}?", "条码{}扫不出来")),
    "versions": (version, ("升级到{}后崩溃", "{} crashes on start", "用的是{}", "installed {} yesterday")),
    "places": (place, ("坐标{}", "定位在{}附近", "meet at {}", "{} is wrong on the map")),
    "models": (model, ("{}多少钱", "想买{}", "is {} in stock?", "型号是{}的那款")),
    "hashes": (digest, ("哈希{}不一致", "commit {} broke it", "checksum {}", "文件{}损坏")),
    "others": (other, ("{}", "看到{}了", "what about {}?", "关于{}的问题")),
}


def negatives(seed: int, of_each: int) -> list[tuple[str, str]]:
    """Kinds and texts."""
    rng = Random(seed)
    made = []
    for kind, (make, texts) in KINDS.items():
        made += [(kind, rng.choice(texts).format(make(rng))) for _ in range(of_each)]
    return made

"""What the finder finds, where the characters stand in the original, and how overlaps are settled."""

import re
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.privacy.test_time import PIECES
from tianti.errors import PrivacyError
from tianti.privacy import Found
from tianti.privacy.finder import Finder, settle

REGIONS = ("CN", "US")


def found(text: str, finder: Finder | None = None) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in (finder or Finder(REGIONS)).find(text)]


def test_inside_chinese_text() -> None:
    text = "我的手机是13812345678，邮箱wang@163.com，车牌粤B12345或粤BD12345，卡号6222021234567890128的。"
    assert found(text) == [
        ("phone", "13812345678"),
        ("email", "wang@163.com"),
        ("plate", "粤B12345"),
        ("plate", "粤BD12345"),
        ("bank_card", "6222021234567890128"),
    ]


def test_found_are_characters_of_the_original() -> None:
    text = "打\u200b给１３８\u200b１２３４－５６７８\u200b吧"
    assert found(text) == [("phone", "１３８\u200b１２３４－５６７８")]


def test_a_right_check_digit_is_told_from_a_wrong_one() -> None:
    assert found("身份证11010519491231002X和110105194912310021") == [
        ("id_card", "11010519491231002X"),
        ("id_card_unverified", "110105194912310021"),
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("13812345678、13912345679/13712345670", ["13812345678", "13912345679", "13712345670"]),
        ("wx13812345678同号，tel13912345679", ["13812345678", "13912345679"]),
        ("付了1500 138 1234 5678", ["138 1234 5678"]),
        ("电话86-10-62345678", ["86-10-62345678"]),
        ("tel:010 6234 5678 转 801", ["010 6234 5678 转 801"]),
        ("+8613812345678,+14155552671", ["+8613812345678", "+14155552671"]),
        ("Mobile: 0490 75 40 81", ["0490 75 40 81"]),
        ("order 4155552671, call 4155552671", ["4155552671"]),
        ("身份证号：110101 19900307 7758。", ["110101 19900307 7758"]),
        ("我的卡6222 0212 3456 7890 128尾号0128", ["6222 0212 3456 7890 128"]),
        ("4111 1111 1111 1111 123，3782-822463-10005-12", ["4111 1111 1111 1111", "3782-822463-10005"]),
        ("卡62220212 34567890128或6222 0212 34567890128", ["62220212 34567890128", "6222 0212 34567890128"]),
        ("6222021234567890 128，4111111111111111 123", ["6222021234567890 128", "4111111111111111"]),
        ("4111 1111 1111 1111 26", ["4111 1111 1111 1111"]),
        ("1)4111-1111-1111-1111 2)5555 5555 5555 4444 11/26", ["4111-1111-1111-1111", "5555 5555 5555 4444"]),
        ("订单2024011513812345678已发货", []),
        ("订单号：4111111111111111，order no. 4111111111111111", []),
        (
            "订单退款到 4111 1111 1111 1111，订单已付款，退到4111111111111111",
            ["4111 1111 1111 1111", "4111111111111111"],
        ),
        ("charged twice for order 12 on 4111111111111111", ["4111111111111111"]),
        ("my card for the order is 4111111111111111", ["4111111111111111"]),
        ("order no. 4111 1111 1111 1111", ["4111 1111 1111 1111"]),
        ("联系电话：1.13800138000，2.13900139000、10.010-62345678", ["13800138000", "13900139000", "010-62345678"]),
        ("1.110101199003071233\n22.11010519491231002X", ["110101199003071233", "11010519491231002X"]),
        ("1.4111111111111111;2.91110000600037341L", ["4111111111111111", "91110000600037341L"]),
        ("1.1.13800138000，2.11.010-62345678，1.3.6.1.4", ["13800138000", "010-62345678"]),
        ("1.192.168.1.1，2.2001:db8::1", ["192.168.1.1", "2001:db8::1"]),
        ("号码13800138000.2号楼，13800138000.13900139000", ["13800138000", "13800138000", "13900139000"]),
        ("工行卡4111111111111111.00，010-62345678.2号楼", ["4111111111111111", "010-62345678"]),
        ("¥13800138000.50，0.13800138000，39.13800138000，(116.39138001380, 4.13800138000)", []),
        ("电话13800138000.00", ["13800138000"]),
        ("13800138000VX同号，V13800138000，加我v13800138000，QQ13800138000", ["13800138000"] * 4),
        ("weixin13800138000，MOBILE13800138000", ["13800138000"] * 2),
        ("a13800138000b，13800138000vest", []),
        ("(138)0013-8000，138/0013/8000，(13800138000)", ["(138)0013-8000", "138/0013/8000", "13800138000"]),
        ("010/62345678，(86)21-62345678，86-21-62345678", ["010/62345678", "(86)21-62345678", "86-21-62345678"]),
        ("身份证1101051949123\n1002X", ["1101051949123\n1002X"]),
        ("1101051949123100 2X，110105.19491231.002X", ["1101051949123100 2X", "110105.19491231.002X"]),
        ("11010519491231002 X，1101051949123100 21", ["11010519491231002 X"]),
        ("91110000 600037341L，91 11 00 00 60 00 37 34 1L", ["91110000 600037341L"]),
        ("part 123-45-6789，房间号 400-123-4567，吉A10000元，python 3.11.2.1", []),
        ("粤B12345元旦限行吗", ["粤B12345"]),
        ("?email=a@b.com&x", ["a@b.com"]),
        ("发给张三zhang@b.com", ["zhang@b.com"]),
        ("'bob@b.com'", ["bob@b.com"]),
        ("bob@b.com13812345678，ann@c.cn13912345679", ["bob@b.com", "13812345678", "ann@c.cn", "13912345679"]),
        ("版本1.2.3.4，IP=1.2.3.4", ["1.2.3.4"]),
        ("server 10.0.0.1; ver 1.2.3.4, kernel 5.10.0.23, 登录IP8.8.8.8异地, zip1.2.3.4", ["10.0.0.1", "8.8.8.8"]),
        ("见：2001:db8::1：不通", ["2001:db8::1"]),
        ("std::a1::b 12:30:45 00:11:22:33:44:55", []),
        ("用户名admin 密码 a123456", ["a123456"]),
        ("password=os.environ['X1'] token=None max_tokens=4096 PASSWORD=${SECRET_1}", []),
        ("https://u:p%40@h.example/x 和 http://h.example:80/a@张三", ["u:p%40"]),
    ],
)
def test_what_stands_around(text: str, values: list[str]) -> None:
    assert [value for _, value in found(text)] == values


def test_a_mobile_number_that_is_called_an_orders_is_not_proven() -> None:
    said = {text: Finder(REGIONS).find(text) for text in ("单号13800138000", "金额13800138000元", "下单 13800138000")}
    assert [one.proven for found in said.values() for one in found] == [False, False, True]


def test_a_secret_beats_what_overlaps_it() -> None:
    assert found("postgres://root:pa55@db.example.com/x") == [("url_credentials", "root:pa55")]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (Found(4, 8, "ip", True), Found(0, 9, "email")),
        (Found(2, 9, "ip"), Found(0, 5, "email")),
        (Found(0, 5, "ip"), Found(3, 8, "email")),
    ],
    ids=["proven", "longer", "earlier"],
)
def test_overlaps(better: Found, worse: Found) -> None:
    assert settle([worse, better]) == settle([better, worse]) == [better]


def test_of_own_types_and_secrets_what_sticks_out_is_found_too() -> None:
    address, card, phone = Found(0, 20, "address"), Found(4, 8, "bank_card", True), Found(10, 14, "phone", True)
    around = [Found(0, 4, "address"), Found(8, 10, "address"), Found(14, 20, "address")]
    assert settle([phone, address, card]) == sorted([card, phone, *around])
    assert settle([Found(2, 6, "token"), Found(4, 8, "api_key", True)]) == [
        Found(2, 4, "token"),
        Found(4, 8, "api_key", True),
    ]
    assert settle([Found(4, 8, "token"), phone, Found(4, 12, "person"), Found(5, 7, "person")]) == [
        Found(4, 8, "token"),
        Found(8, 10, "person"),
        phone,
    ]


def test_groups_of_a_random_id_are_no_number() -> None:
    text = "ed0492df-2846-4199-a65a-5a24b24162dc"
    assert found(f"{text} 2846-4199", Finder(("CN", "HK"))) == [("phone", "2846-4199")]


def test_only_what_is_wanted() -> None:
    text = "13812345678 wang@163.com"
    assert found(text, Finder(REGIONS, wanted=frozenset({"email"}))) == [("email", "wang@163.com")]


def test_own_detector_reads_normalised_text() -> None:
    def badges(text: str) -> list[Found]:
        return [Found(*match.span(), "badge") for match in re.finditer("T-[0-9]{4}", text)]

    finder = Finder(REGIONS, own=[(badges, frozenset({"badge"}))])
    assert found("工号Ｔ－１２３４。", finder) == [("badge", "Ｔ－１２３４")]


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Found(0, 1, "other"), "add the type"),
        (Found(0, 9, "badge"), "in the text"),
        (Found(2, 2, "badge"), "in the text"),
    ],
)
def test_own_detector_that_breaks_its_contract(one: Found, said: str) -> None:
    finder = Finder(REGIONS, own=[(lambda text: [one], frozenset({"badge"}))])
    with pytest.raises(PrivacyError, match=said):
        finder.find("abc")


def test_own_detector_that_fails_does_not_tell_the_text() -> None:
    def fails(text: str) -> list[Found]:
        raise ValueError(text)

    def misplaces(text: str) -> list[tuple[int, int, str]]:
        return [(0, 3, text)]

    for detector, said in ((fails, "failed with ValueError at .*test_finder.py:[0-9]+: correct"), (misplaces, "add")):
        with pytest.raises(PrivacyError, match=said) as caught:
            Finder(REGIONS, own=[(detector, frozenset({"badge"}))]).find("王" * 9)
        assert "王王" not in "".join(traceback.format_exception(caught.value))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from((*PIECES, "粤B12345", "11010519491231002X", "\ud800", "４", "🙂")), max_size=30).map(
        "".join
    )
)
def test_found_are_in_order_and_apart(text: str) -> None:
    place = 0
    for one in Finder(("CN", "US", "GB")).find(text):
        assert place <= one.start < one.end <= len(text)
        place = one.end


WRAPPED = {
    "phone": (
        "\\u7535\\u8bdd13812345678",
        "电话：\\n13812345678\\n",
        "%E7%94%B5%E8%AF%9D13812345678",
        "tel%3D%2B86%20138%201234%205678",
        "138&nbsp;1234&#32;5678",
        "&#49;3812345678",
        "138 - 1234 - 5678",
        "138——1234——5678",
        "138  1234\t5678",
        "138\n1234\r\n5678",
        "1 3 8 1 2 3 4 5 6 7 8",
        "一三八一二三四五六七八",
        "幺三八 1234 五六七八",
        "1️⃣3️⃣8️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣8️⃣",
    ),
    "id_card": ("ID110101199003071233", "110101\n19900307\n1233", "1 1 0 1 0 1 1 9 9 0 0 3 0 7 1 2 3 3"),
    "bank_card": ("card4111111111111111", "4111 - 1111 - 1111 - 1111", "4111+1111+1111+1111", "Visa4111111111111111"),
    "iban": ("IBANDE89370400440532013000", "DE89  3704  0044  0532  0130  00"),
    "us_ssn": ("SSN123-45-6789", "123 - 45 - 6789"),
    "token": (
        '{\\"password\\": \\"correcthorse\\"}',
        '{\\\\\\"password\\\\\\": \\\\\\"correcthorse\\\\\\"}',
        '{"password": "correcthorse"}',
        "密碼：abc111111",
        "密码abc111111",
        "Authorization: Basic dXNlcjpwYXNzMTIz",
        "JSESSIONID=abc111111",
    ),
    "email": ("wang%40example.com", "wang&#64;example.com", "wang @ example.com", "wang[at]example[dot]com"),
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in WRAPPED.items() for text in texts])
def test_what_is_wrapped_or_spelled_out_is_found_whole(kind: str, text: str) -> None:
    for around in ("{}", "我的是{}，谢谢"):
        (found,) = Finder(("CN", "US")).find(around.format(text))
        assert found.kind == kind
        left = around.format(text)[: found.start] + around.format(text)[found.end :]
        assert not re.search("5 ?6|五六|12 ?3|111|00|89|wang|com|horse|dXN", left), left


def test_an_escape_hides_no_number_beside_it() -> None:
    text = "打折50%13812345678"
    assert [text[one.start : one.end] for one in Finder(("CN", "US")).find(text)] == ["13812345678"]

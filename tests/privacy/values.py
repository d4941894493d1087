"""Values of each type, made from what the standards and the issuers say, not from what our patterns look for.

GB 11643 (ID cards), GB 32100 and GB 11714 (credit codes), GA 36 (plates), the carriers' prefixes, virtual operators',
ISO 7812 (cards), ISO 13616 (IBAN), RFC 5321 and 6531 (mail), forms of keys and tokens as their issuers document them.

A form gives what stands before the value, the value, and what stands after it. `named`: the form is so bare that it can
only be told where a word says what it is.
"""

import base64
import ipaddress
import json
import string
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from random import Random
from typing import NamedTuple

Piece = tuple[str, str, str]


class Form(NamedTuple):
    make: Callable[[Random], str | Piece]
    named: bool = False


def each(words: str) -> list[str]:
    return words.split()


def digits(rng: Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def letters(rng: Random, count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(rng.choices(alphabet, k=count))


# Carriers, virtual operators included: China Mobile, Unicom, Telecom, Broadnet.
MOBILE = each(
    "134 135 136 137 138 139 147 148 150 151 152 157 158 159 172 178 182 183 184 187 188 195 197 198 1703 1705 1706 "
    "165 130 131 132 145 146 155 156 166 175 176 185 186 196 1704 1707 1708 1709 171 167 "
    "133 149 153 173 177 180 181 189 190 191 193 199 1700 1701 1702 162 192"
)
AREAS_EIGHT = each("010 020 021 022 023 024 025 027 028 029 0755 0571 0512 0591 0532 0371 0411 0574 0531")
AREAS_SEVEN = each("0553 0310 0735 0830 0913 0592")


def mobile(rng: Random) -> str:
    prefix = rng.choice(MOBILE)
    return prefix + digits(rng, 11 - len(prefix))


def grouped_mobile(rng: Random) -> str:
    number, by = mobile(rng), rng.choice("- ")
    return by.join((number[:3], number[3:7], number[7:]))


def mobile_with_country(rng: Random) -> str:
    return rng.choice(("+86", "+86 ", "+86-", "86-", "(+86)", "0086 ")) + rng.choice((mobile, grouped_mobile))(rng)


def mobile_written(rng: Random) -> str:
    number = mobile(rng)
    return rng.choice(("({}){}-{}", "{}/{}/{}", "{}.{}.{}")).format(number[:3], number[3:7], number[7:])


def mobile_labelled(rng: Random) -> Piece:
    before = rng.choice(("", "VX", "微信wx", "V", "加我v", "QQ", "Tel", "id"))
    return before, mobile(rng), "" if before else rng.choice(("VX同号", "wx", "V", ".2号楼", ".0"))


def landline(rng: Random) -> tuple[str, str]:
    if rng.random() < 0.8:
        return rng.choice(AREAS_EIGHT), rng.choice("2345678") + digits(rng, 7)
    return rng.choice(AREAS_SEVEN), rng.choice("2345678") + digits(rng, 6)


def landline_written(rng: Random) -> str:
    area, local = landline(rng)
    split = local[:4] + " " + local[4:] if len(local) == 8 else local[:3] + " " + local[3:]
    return rng.choice(
        (
            *(f"{area}-{local}", f"({area}){local}", f"{area} {split}", f"{area}{local}", f"+86 {area[1:]} {local}"),
            *(f"{area}/{local}", f"(86){area[1:]}-{local}", f"86-{area[1:]}-{local}"),
        )
    )


def landline_extended(rng: Random) -> str:
    area, local = landline(rng)
    return f"{area}-{local}{rng.choice(('转', '-', ' ext '))}{digits(rng, rng.choice((3, 4)))}"


def service_number(rng: Random) -> str:
    rest = rng.choice("0168") + digits(rng, 6)
    return rng.choice(
        (f"400-{rest[:3]}-{rest[3:]}", f"400{rest[0]}-{rest[1:4]}-{rest[4:]}", f"400 {rest[:3]} {rest[3:]}")
    )


def american(rng: Random) -> tuple[str, str, str]:
    area = rng.choice(each("212 415 650 312 617 713 206 303 404 512 702 916"))
    exchange = rng.choice("23456789") + rng.choice("023456789") + rng.choice(string.digits)
    return area, exchange, digits(rng, 4)


def american_written(rng: Random) -> str:
    area, exchange, line = american(rng)
    forms = (
        "({}) {}-{}",
        "{}-{}-{}",
        "{}.{}.{}",
        "+1 {} {} {}",
        "+1-{}-{}-{}",
        "1-{}-{}-{}",
        "({}) {}-{} x" + digits(rng, 3),
    )
    return rng.choice(forms).format(area, exchange, line)


ABROAD = (
    *("44 7#1# ######", "49 151 1#######", "81 90-3###-####", "33 6 1# ## ## ##", "852 6### ####", "65 91## ####"),
    *("61 41# ### ###", "886 912 ### ###", "82 10-3###-####", "91 98### #####"),
)


def abroad(rng: Random) -> str:
    return "+" + "".join(rng.choice(string.digits) if one == "#" else one for one in rng.choice(ABROAD))


def id_number(rng: Random) -> str:
    """Place, day of birth, order, check digit by ISO 7064 MOD 11-2 as the standard writes it out."""
    place = rng.choice(
        each("110101 120103 130102 310104 320106 330106 350203 370102 420106 440305 510104 530102 610113 650102 810000")
    )
    born = date(1930, 1, 1) + timedelta(days=rng.randrange(31000))
    body = f"{place}{born:%Y%m%d}{digits(rng, 3)}"
    remainder = 0
    for digit in body:
        remainder = (remainder + int(digit)) * 2 % 11
    check = (12 - remainder) % 11
    return body + ("X" if check == 10 else str(check))


def id_grouped(rng: Random) -> str:
    number, by = id_number(rng), rng.choice("- ")
    return by.join((number[:6], number[6:14], number[14:]))


def id_regrouped(rng: Random) -> str:
    """As a line or a form happened to break it."""
    number, cuts = id_number(rng), sorted(rng.sample(range(1, 18), rng.randint(1, 3)))
    return rng.choice(" -./\n").join(number[first:last] for first, last in pairwise((0, *cuts, 18)))


def id_wrong(rng: Random) -> str:
    number = id_number(rng)
    return number[:17] + rng.choice([other for other in "0123456789X" if other != number[17]])


def with_luhn(body: str) -> str:
    total = sum(int(one) if place % 2 else sum(divmod(int(one) * 2, 10)) for place, one in enumerate(reversed(body)))
    return body + str(-total % 10)


CARDS = (
    *((prefix, 19) for prefix in each("622202 621700 622848 621661 622588 621226 623058 620522")),
    *((prefix, 16) for prefix in each("622575 625996 628388 622155")),
    *((prefix, 16) for prefix in each("4 4539 4916 51 53 55 2221 2720 6011 65 3528 3589")),
    *((prefix, 15) for prefix in each("34 37")),
    *((prefix, 14) for prefix in each("300 305 36 38")),
)


def card(rng: Random) -> str:
    prefix, length = rng.choice(CARDS)
    return with_luhn(prefix + digits(rng, length - len(prefix) - 1))


def card_grouped(rng: Random) -> str:
    number = card(rng)
    cuts = {15: (4, 10), 14: (4, 10)}.get(len(number), (4, 8, 12, 16))
    edges = [0, *(cut for cut in cuts if cut < len(number)), len(number)]
    return rng.choice("- ").join(number[first:last] for first, last in pairwise(edges))


def card_of_order(rng: Random) -> Piece:
    """An order's word is near, but does not say what the number is."""
    before = rng.choice(
        (
            "订单退款到",
            "订单已付款，退到",
            "the order was paid with ",
            "charged twice for order 12 on ",
            "refund order to ",
        )
    )
    return before, card(rng), rng.choice(("", "", ".00"))


def credit_code(rng: Random) -> str:
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    head = rng.choice(each("91 92 93 12 13 51 52 53 11 A1 N1 Y1")) + rng.choice(
        each("110101 310115 440300 330100 510100")
    )
    organisation = letters(rng, 8, string.digits * 3 + "MA" * 4 + alphabet[10:])
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    values = [(string.digits + string.ascii_uppercase).index(one) for one in organisation]
    inner = 11 - sum(weight * value for weight, value in zip(weights, values, strict=True)) % 11
    body = head + organisation + ("X" if inner == 10 else "0" if inner == 11 else str(inner))
    total = sum(alphabet.index(one) * 3**place for place, one in enumerate(body))
    return body + alphabet[-total % 31]


def credit_code_grouped(rng: Random) -> str:
    code, edges = credit_code(rng), rng.choice(((0, 8, 18), (0, 2, 8, 17, 18), (0, 4, 8, 12, 16, 18), (0, 6, 12, 18)))
    return rng.choice(" -").join(code[first:last] for first, last in pairwise(edges))


def plate(rng: Random) -> str:
    place = rng.choice("京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼") + rng.choice("ABCDEFGHJKL")
    drawn = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    number = list(digits(rng, 5))
    for spot in rng.sample(range(5), rng.choice((0, 0, 1, 2))):
        number[spot] = rng.choice(drawn)
    ordinary = "".join(number)
    small_green = rng.choice("DF" * 4 + "ABCEGHJK") + rng.choice(string.digits + drawn) + digits(rng, 4)
    special = digits(rng, 4) + rng.choice("学警挂")
    which = rng.choice((ordinary, ordinary, small_green, digits(rng, 5) + rng.choice("DF"), special))
    return place + rng.choice(("", "", "", "·", "•", " ", "-")) + which


HOSTS = each(
    "163.com qq.com gmail.com outlook.com corp.example.com.cn mail.tsinghua.edu.cn example.co.uk foxmail.com "
    "shop.example.museum"
)


def email(rng: Random) -> str:
    name = rng.choice(each("wang li.na zhang_san chen-jie j.doe O'Brien bob+news first.last x ADMIN user%ext"))
    return f"{name}{rng.choice(('', digits(rng, 3)))}@{rng.choice(HOSTS)}"


def email_other_scripts(rng: Random) -> str:
    return rng.choice(
        (
            "josé@exemple.fr",
            "müller@bücher.de",
            "иван@почта.рф",
            "δοκιμή@παράδειγμα.ελ",
            "用户@例子.中国",
            "小明@qq.com",
        )
    )


def ip4(rng: Random) -> str:
    return ".".join(
        str(part) for part in (rng.randint(1, 223), rng.randint(0, 255), rng.randint(0, 255), rng.randint(1, 254))
    )


def ip6(rng: Random) -> str:
    head = rng.choice((0x2001_0DB8, 0x2408_8000, 0x2A00_1450, 0xFE80_0000, 0xFD12_3456))
    address = ipaddress.IPv6Address((head << 96) | rng.getrandbits(rng.choice((16, 64, 90))))
    return rng.choice((str(address), address.exploded, str(address).upper()))


def iban(rng: Random) -> str:
    country, shape = rng.choice(
        (
            ("DE", "d18"),
            ("GB", "a4d14"),
            ("FR", "d10n11d2"),
            ("NL", "a4d10"),
            ("ES", "d20"),
            ("IT", "a1d10n12"),
            ("CH", "d5n12"),
            ("NO", "d11"),
        )
    )
    alphabets = {"d": string.digits, "a": string.ascii_uppercase, "n": string.digits + string.ascii_uppercase}
    account, at = "", 0
    while at < len(shape):
        end = at + 1
        while end < len(shape) and shape[end].isdigit():
            end += 1
        account += letters(rng, int(shape[at + 1 : end]), alphabets[shape[at]])
        at = end
    value = int("".join(str(int(one, 36)) for one in f"{account}{country}00"))
    whole = f"{country}{98 - value % 97:02d}{account}"
    return rng.choice((whole, whole.lower(), " ".join(whole[place : place + 4] for place in range(0, len(whole), 4))))


def ssn(rng: Random, by: str = "-") -> str:
    area = rng.choice([number for number in range(1, 900) if number != 666])
    return f"{area:03d}{by}{rng.randint(1, 99):02d}{by}{rng.randint(1, 9999):04d}"


def pem(rng: Random) -> str:
    kind = rng.choice(("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "))
    lines = "\n".join(letters(rng, 64, string.ascii_letters + string.digits + "+/") for _ in range(rng.randint(2, 12)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def web_token(rng: Random) -> str:
    parts = (
        json.dumps(part).encode()
        for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": digits(rng, 8), "iat": 1700000000})
    )
    coded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    return ".".join((*coded, letters(rng, 43, string.ascii_letters + string.digits + "-_")))


def password(rng: Random) -> str:
    return letters(rng, rng.randint(8, 16), string.ascii_letters + string.digits + "!@#$%^*_-").strip("!") + "a1"


def assigned_password(rng: Random) -> Piece:
    quote = rng.choice(("", "", '"', "'"))
    name = rng.choice(
        ("password=", "PASSWORD: ", "passwd=", "pwd=", "DB_PASSWORD=", "密码：", "密码是", "client_secret=", "secret: ")
    )
    return name + quote, password(rng), quote


def assigned_key(rng: Random) -> Piece:
    name = rng.choice(("api_key=", "apikey: ", "API-KEY=", "access_key=", "secret_key = ", 'aws_secret_access_key="'))
    return name, letters(rng, rng.choice((32, 40))), '"' if name.endswith('"') else ""


def bearer(rng: Random) -> Piece:
    return rng.choice(("Authorization: Bearer ", "bearer ", "Authorization: Basic ")), letters(rng, 30) + "0a", ""


def url_login(rng: Random) -> Piece:
    scheme = rng.choice(each("https postgres mysql redis ftp mongodb+srv amqp"))
    host = rng.choice(
        ("db.example.com:5432/app", "cache.internal.example/x", "git.example.com/a/b.git", "localhost:6379")
    )
    user = rng.choice(("root", "app_user", "li.lei", ""))
    return f"{scheme}://", f"{user}:{letters(rng, 10)}{rng.choice(('', '!', '%40'))}", f"@{host}"


def shape(pattern: str, alphabet: str = string.ascii_letters + string.digits) -> Form:
    """A fixed beginning, and after `|` how many random characters."""
    head, count = pattern.split("|")
    return Form(lambda rng: head + letters(rng, int(count), alphabet))


FORMS: dict[str, tuple[Form, ...]] = {
    "phone": (
        *(
            Form(make)
            for make in (mobile, mobile, grouped_mobile, mobile_with_country, landline_written, landline_extended)
        ),
        *(Form(make) for make in (mobile_written, mobile_labelled, service_number, american_written, abroad)),
        Form(lambda rng: "".join(american(rng)), named=True),
        Form(lambda rng: "400" + rng.choice("0168") + digits(rng, 6), named=True),
    ),
    "id_card": (Form(id_number), Form(lambda rng: id_number(rng).lower()), Form(id_grouped), Form(id_regrouped)),
    "id_card_unverified": (Form(id_wrong),),
    "bank_card": (Form(card), Form(card_grouped), Form(card_of_order)),
    "uscc": (Form(credit_code), Form(lambda rng: credit_code(rng).lower()), Form(credit_code_grouped)),
    "plate": (Form(plate),),
    "email": (Form(email), Form(email), Form(email), Form(email_other_scripts, named=True)),
    "ip": (Form(ip4), Form(ip6)),
    "iban": (Form(iban),),
    "us_ssn": (Form(ssn), Form(lambda rng: ssn(rng, " ")), Form(lambda rng: ssn(rng, ""), named=True)),
    "api_key": (
        shape("AKIA|16", string.ascii_uppercase + "234567"),
        shape("AIza|35", string.ascii_letters + string.digits + "-_"),
        *(shape(known) for known in ("sk-|48", "sk-proj-|64", "sk-ant-api03-|93", "sk_live_|24", "LTAI|20")),
        Form(assigned_key),
    ),
    "token": (
        *(shape(known) for known in ("ghp_|36", "gho_|36", "glpat-|20", "npm_|36", "hf_|34")),
        Form(lambda rng: f"github_pat_{letters(rng, 22)}_{letters(rng, 59)}"),
        Form(lambda rng: f"xoxb-{digits(rng, 12)}-{digits(rng, 12)}-{letters(rng, 24)}"),
        Form(web_token),
        Form(bearer),
        Form(assigned_password),
    ),
    "private_key": (Form(pem),),
    "url_credentials": (Form(url_login),),
}

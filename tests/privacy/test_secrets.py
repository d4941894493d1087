"""Secrets in the ways people write them, found whole, and ordinary texts about passwords, in which there is none."""

import pytest

from tianti.privacy.finder import Finder

HEX = "7f9c2ba4e88f827d616045507605853e"
PEM = "-----BEGIN PRIVATE KEY-----"


def found(text: str) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in Finder(("CN", "US")).find(text)]


NAMES = {
    "api_key": (
        *(
            "API Key: {}",
            "api-key：{}",
            "Secret Key: {}",
            "Access Key: {}",
            "Access Key ID: {}",
            "秘钥：{}",
            "秘鑰是{}",
            "encryption key: {}",
            "signing_key={}",
            "apikey {}",
            "my access key {}",
            "私钥：{}",
            'os.environ["API_KEY"] = "{}"',
        ),
        *("appkey: {}", "app_key={}", "App Secret: {}", "AccountKey={};EndpointSuffix", "x-api-key:\n {}"),
    ),
    "token": (
        *("passcode: {}", "pw: {}", "credential: {}", "credentials={}", "pass phrase: {}", "PHPSESSID={}"),
        *("Authorization: ApiKey {}", "Authorization: Token {}", '"Authorization": "Token {}"', "authorization: {}"),
    ),
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NAMES.items() for text in texts])
def test_by_its_name(kind: str, text: str) -> None:
    ((named, value),) = found(text.format(HEX))
    assert (named, value.partition(";")[0]) == (kind, HEX)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "密码是: {}",
            "密码是 “{}”",
            "密码：“{}”",
            "密码「{}」",
            "密码（{}）",
            "密码都是{}",
            "密码设为{}",
            "密码:\n{}",
        ),
        *(
            "密码默认{}",
            "密码已重置为{}，请尽快修改",
            "密码改成了{}",
            "口令为{}",
            "密碼設為{}",
            "密碼係{}",
            "預設密碼為「{}」",
            "密码现在是{}",
            "密码我已经改成{}",
            "密 码：{}",
            "密码(8位)：{}",
            "密码【{}】",
            "密码→{}",
            "密码：\r\n\r\n{}",
            "**密码:** {}",
            "密码 - {}",
            "密码（{}",
            "wifi密码{}",
        ),
        *("password is: {}", "the password was {}.", "changed my password to {}", "user bob password {}", "passwd {}"),
        *("--password {}", "password - {}", 'password="{}', "(password: {})", "{{password:{}}}", "password={}</p>"),
        *("password:\r\n{}", "`password={}`"),
        *("**Password:** {}", "`password`: `{}`", "| password | {} |", "Password (temporary): {}", "pass word = {}"),
        *("<password>{}</password>", '<input name="password" value="{}">', '{{"name": "DB_PASSWORD", "value": "{}"}}'),
        *(
            "- name: DB_PASSWORD\n  value: {}",
            "&quot;password&quot;:&quot;{}&quot;",
            "?password={}&phone=1",
            "password=={}",
        ),
        *('config["password"] = "{}"', "user[password]={}", "define('DB_PASSWORD', '{}');", 'setPassword("{}")'),
    ],
)
@pytest.mark.parametrize("value", ["Qwer1234", "hunter22"])
def test_between_name_and_value(text: str, value: str) -> None:
    assert found(text.format(value)) == [("token", value)]


@pytest.mark.parametrize(
    "value",
    [
        "111111",
        "13800138000",
        "123-45-678",
        "1day2Xy!",
        "Xk9(mQ2!vb",
        "Ab1[Xy9>kk",
        "<Xy9!k2#",
        "ab\"c'd12",
        "a1;b,c{d",
        "P@ssword",
        "Ab9\\kk2",
        "a1" * 300,
    ],
)
@pytest.mark.parametrize("text", ["password={}", "密码：{}", "密码{}", "password: {} and more", "密码是{}。"])
def test_whatever_signs_it_has(text: str, value: str) -> None:
    assert found(text.format(value)) == [("token", value)]


def test_a_quoted_value_goes_on_after_an_escaped_quote() -> None:
    assert found('password: "Ab12\\"Xy9" and so on') == [("token", 'Ab12\\"Xy9')]


def test_a_value_of_a_query_ends_where_the_next_begins() -> None:
    assert found("https://x.cn/?access_token=Abc12345&phone=13812345678&password=Qwer&12=3") == [
        ("token", "Abc12345"),
        ("phone", "13812345678"),
        ("token", "Qwer"),
    ]
    assert found("?token=&page=12") == []
    assert found("password=Abc&12=3") == [("token", "Abc&12=3")]
    assert found("password=my.Secret!12") == [("token", "my.Secret!12")]


def test_a_name_in_what_is_no_value() -> None:
    assert found("密码 password=abcd") == [("token", "abcd")]


def test_four_digits_are_one_where_they_are_said_to_be() -> None:
    said = ("the passcode is 4821", "门禁密码是4821#", "密码：4821。", "密码是2024年改的")
    assert [found(text) for text in said] == [
        [("token", "4821")],
        [("token", "4821#")],
        [("token", "4821")],
        [],
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("forgot my password", "the password is wrong", "my password is not working", "reset password: click here"),
        *("token expired", "the token is expired2", "password: Required!", "password: please contact support", "pw: "),
        *('the field "password" cannot be empty', '"password" is invalid', "password (8-16 characters)", "pw: no"),
        *(
            "password is 12-character minimum",
            "password office365",
            "changed password 2024-01-15",
            "api key is invalid",
        ),
        *("password-protected file1", "my password is JavaScript", "the secret to 100% success", "token: string"),
        *("Authorization: please contact the administrator", "Basic understanding of things", "max_tokens=4096"),
        *(
            "密码错误",
            "密码是什么",
            "密码忘了",
            "wifi密码多少",
            "密码：8-16位字符",
            "密码为6-20个字符",
            "密码是8位数字",
        ),
        *("密码已过期", "密码修改成功", "修改密码后无法登录", "密码是iPhone的锁屏密码", "[修改密码](https://x.com/a1)"),
        *('password=os.environ["X"]', "password = get_password()", "password = config['password']", "token=None"),
        *("key = load_private_key(data)", "secret_key = load_key(a.b, None)", "password=input('Password: ')"),
        *("var token=e.headers.token,pass=t.password||0;", "e.pass=function(k){{return k}}", "token = await get()"),
        *(
            "if (token==null)return",
            'api_key="YOUR_API_KEY"',
            "<label>Password:</label>",
            'args["token"] = next',
            "echo $TOKEN | base64",
        ),
        *("PASSWORD=$DB_PASSWORD", "password=${X1}", "password: ***", "password=********", "secret: <your secret>"),
        *("password=<your-password1>", "api key: {{key}}", "token: ${{ secrets.TOKEN1 }}", 'token = f"{a1}_{b}"'),
    ],
)
def test_none_where_there_is_none(text: str) -> None:
    assert [found(around.format(text)) for around in ("{}", "我说{}，谢谢")] == [[], []]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mysql://root:P@ss#w0rd@db:3306/x", "root:P@ss#w0rd"),
        ("https://admin:pa/ss@host.com/x", "admin:pa/ss"),
        ("postgres://u:p?w1@h/db", "u:p?w1"),
        ("mysql://root:密码@db", "root:密码"),
        ("mysql://me@corp.com:pw1@db.x", "me@corp.com:pw1"),
        ('redis://:a"b@h', ':a"b'),
        ("http://admin:1234@host", "admin:1234"),
        ("http://admin:12;3@host", "admin:12;3"),
        ("见https://u:p%40@h.example/x，谢谢", "u:p%40"),
    ],
)
def test_credentials_of_a_url_go_to_its_last_at(text: str, value: str) -> None:
    assert found(text) == [("url_credentials", value)]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "http://example.com:80@x",
            "http://localhost:6379/a@b",
            "https://h.example:8080/x@y",
            "https://h.example:80，@x",
        ),
        *(
            "redis://h.example.com:6379/0?x=a@b",
            "postgres://${USER}:${PASS}@db/x",
            "://<u>:<p>@h",
        ),
    ],
)
def test_ports_and_templates_are_no_credentials(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        f"{PEM}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB12\n\nMIIEabcdefgh\nxyz",
        f"{PEM}\n> MIIEvQIBADANBg\n",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v1\n\nlQOYBF",
        *("----- BEGIN PRIVATE KEY -----\nab，cd", f"{PEM.lower()}\nab", "——-BEGIN PRIVATE KEY——-\nab"),
    ],
)
def test_a_private_key_without_its_last_line_goes_to_the_end(text: str) -> None:
    assert found(f"我的{text}") == [("private_key", text)]


@pytest.mark.parametrize("after", ["，我的电话", '" 开头的文件打不开', "不认识", " is what it begins with, ", ": "])
def test_the_first_line_of_a_private_key_may_be_spoken_of(after: str) -> None:
    assert found(f"{PEM}{after}13812345678") == [("phone", "13812345678")]
    assert found(f"{PEM}{after}{HEX}") == [("private_key", f"{PEM}{after}{HEX}")]


def test_a_private_key_ends_with_its_last_line() -> None:
    key = f"{PEM}\nab\n{PEM.replace('BEGIN', 'END')}"
    assert found(f"{key} and {key}.") == [("private_key", key)] * 2


@pytest.mark.parametrize(
    "place", ["qyapi.weixin.qq.com/cgi-bin/webhook/send?key=", "open.feishu.cn/open-apis/bot/v2/hook/"]
)
def test_whoever_has_a_webhooks_url_may_write_to_it(place: str) -> None:
    key = "7f9c2ba4-e88f-427d-9160-45507605853e"
    assert found(f"https://{place}{key}") == [("token", key)]


def test_forms() -> None:
    assert found(f"whsec_{HEX} xoxo-love-you-2") == [("api_key", f"whsec_{HEX}")]


@pytest.mark.parametrize("before", ["", "token_", "a-b-", "令牌"])
def test_a_web_token_in_a_longer_word(before: str) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    assert found(before + token) == [("token", token)]

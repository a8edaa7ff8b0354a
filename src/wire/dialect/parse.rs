//! A dialect from its TOML text.

use super::read::{Item, Problem, Reader, Table};
use super::{
    Call, Chunks, Coding, Create, Dialect, Fields, FileField, Finish, First, Hash, Have, Identity, Json, MAX_TEXT,
    Mode, Order, Parse, Place, Predicate, Repeat, Send, Statuses, Tail, Template, Trust, VERSION, Wanted,
};
use crate::digest::Algorithm;
use toml::de::{DeTable, DeValue};

/// Reads a dialect's text; all that is wrong with it otherwise.
pub(super) fn parse(text: &str) -> Result<Dialect, Vec<Problem>> {
    if text.len() as u64 > MAX_TEXT {
        return Err(vec![Problem { line: 1, what: format!("it is longer than {MAX_TEXT} bytes") }]);
    }
    let reader = Reader::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    let broken = !errors.is_empty();
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.problem(at, error.message().to_string());
    }
    if broken {
        // What the rest of a broken text says is guesswork.
        return Err(reader.problems());
    }
    let dialect = {
        let top = Table::new(&reader, String::new(), document.get_ref(), 0..0);
        dialect(top)
    };
    let problems = reader.problems();
    match dialect {
        Some(dialect) if problems.is_empty() => Ok(dialect),
        _ if problems.is_empty() => Err(vec![Problem { line: 1, what: "it is not a dialect".into() }]),
        _ => Err(problems),
    }
}

fn dialect(top: Table) -> Option<Dialect> {
    match top.get("dialect") {
        None => top.wrong("`dialect = 1`, the version of the schema, is missing"),
        Some(item) => {
            if item.count().is_some_and(|version| version != VERSION) {
                item.wrong::<()>(format!("only version {VERSION} is known"));
            }
        }
    }
    let name = top.get("name").and_then(|item| item.text()).map(str::to_string);
    if name.is_none() {
        top.wrong("`name` is missing");
    }
    let about = top.get("about").and_then(|item| item.text()).unwrap_or_default().to_string();
    let sniff = top.get("sniff").map(|item| texts(&item)).unwrap_or_default();
    let chunks = top.table("chunks").map(chunks).unwrap_or_else(|| Chunks { size: 1 << 20, ..default_chunks() });
    let identity = top.table("identity").map(identity).unwrap_or_else(default_identity);
    let all = top.table("all").map(Common::read).unwrap_or_default();
    let create = top.table("create").map(|table| create(table, &all));
    let have = top.table("have").and_then(|table| have(table, &all, chunks.base));
    let send = top.table("send").map(|table| send(table, &all));
    if send.is_none() {
        top.wrong("[send], which says how a chunk is sent, is missing");
    }
    let finish = top.table("finish").map(|table| finish(table, &all, chunks.base));
    let abort = top.table("abort").map(|table| {
        let call = call(&table, &all, "DELETE", Coding::Urlencoded);
        table.finish();
        call
    });
    let dialect = Dialect { name: name?, about, sniff, chunks, identity, create, have, send: send?, finish, abort };
    check(&dialect, &top);
    top.finish();
    Some(dialect)
}

/// What no single key shows.
fn check(dialect: &Dialect, top: &Table) {
    use super::Key;
    let asks = |key: &Key| dialect.templates().into_iter().flat_map(Template::keys).any(|asked| asked == key);
    if dialect.identity.hash.is_none() && asks(&Key::Hash) {
        top.wrong("{hash} is used, and [identity] does not say `hash = { algo = \"…\" }`");
    }
    if dialect.identity.id.keys().any(|key| *key == Key::Id || key.is_of_chunk()) {
        top.wrong("identity.id can neither hold itself nor what belongs to one chunk");
    }
    if dialect.identity.id.keys().any(|key| matches!(key, Key::Env(_))) {
        top.wrong("identity.id is kept in the record, so it cannot hold a variable, which is a secret");
    }
    let trusts = [dialect.create.as_ref().map(|create| create.trust), dialect.have.as_ref().map(|have| have.trust)];
    if dialect.identity.hash.is_none() && trusts.contains(&Some(Trust::Hash)) {
        top.wrong("`trust = \"hash\"` wants the hash that [identity] does not have");
    }
    let sequential = dialect.chunks.order == Order::Sequential;
    if dialect.chunks.repeat != Repeat::Safe && !sequential {
        top.wrong("a server that appends wants `order = \"sequential\"` in [chunks]");
    }
    for (key, is_there) in [("next", dialect.send.next.is_some()), ("capture", !dialect.send.capture.is_empty())] {
        if is_there && !sequential {
            top.wrong(format!("`{key}` in [send] wants `order = \"sequential\"` in [chunks]"));
        }
    }
    if dialect.send.call.ok.is_empty() && dialect.send.done.is_empty() {
        top.wrong("[send] does not say which replies are `ok`");
    }
}

fn default_chunks() -> Chunks {
    Chunks {
        size: 1 << 20,
        min: 0,
        max: 0,
        multiple: 1,
        max_count: 0,
        base: 0,
        tail: Tail::Own,
        order: Order::Any,
        parallel: 3,
        repeat: Repeat::Safe,
        bare_single: false,
        empty_tail: false,
        first: First::Transfer,
    }
}

fn chunks(table: Table) -> Chunks {
    let size = |key| table.get(key).and_then(|item| item.size());
    let default = default_chunks();
    let order =
        table.word("order", &[("any", Order::Any), ("sequential", Order::Sequential), ("last-last", Order::LastLast)]);
    let read = Chunks {
        size: size("size").unwrap_or(default.size),
        min: size("min").unwrap_or(0),
        max: size("max").unwrap_or(0),
        multiple: size("multiple").unwrap_or(1),
        max_count: table.get("max_count").and_then(|item| item.count()).unwrap_or(0),
        base: table.get("base").and_then(|item| item.count()).unwrap_or(0),
        tail: table.word("tail", &[("own", Tail::Own), ("merged", Tail::Merged)]).unwrap_or_default(),
        order: order.unwrap_or_default(),
        parallel: table.get("parallel").and_then(|item| item.count()).map_or(default.parallel, |n| n as usize),
        repeat: table
            .word("repeat", &[("safe", Repeat::Safe), ("append", Repeat::Append), ("stop", Repeat::Stop)])
            .unwrap_or_default(),
        bare_single: table.word("single", &[("same", false), ("bare", true)]).unwrap_or(false),
        empty_tail: table.get("empty_tail").and_then(|item| item.flag()).unwrap_or(false),
        first: table.word("first", &[("run", First::Run), ("transfer", First::Transfer)]).unwrap_or_default(),
    };
    if read.size == 0 || read.multiple == 0 || read.parallel == 0 {
        table.wrong("chunks: size, multiple and parallel are at least 1");
    }
    if read.max != 0 && read.max < read.min.max(read.multiple) {
        table.wrong("chunks: no size is between min and max");
    }
    table.finish();
    Chunks { size: read.size.max(1), multiple: read.multiple.max(1), parallel: read.parallel.clamp(1, 64), ..read }
}

fn default_identity() -> Identity {
    Identity { id: Template::plain(""), hash: None }
}

fn identity(table: Table) -> Identity {
    let id = table.get("id").and_then(|item| template(&item)).unwrap_or_else(|| Template::plain(""));
    let hash = table.table("hash").and_then(|table| {
        let algorithm = table.get("algo").and_then(|item| {
            let name = item.text()?;
            Algorithm::from_name(name).or_else(|| item.wrong(format!("{name:?} is no algorithm known here")))
        });
        if algorithm.is_none() {
            table.wrong("identity.hash: `algo` is missing");
        }
        let first = table.get("first").and_then(|item| item.size()).filter(|first| *first > 0);
        table.finish();
        Some(Hash { algorithm: algorithm?, first })
    });
    table.finish();
    Identity { id, hash }
}

/// What goes into every call.
#[derive(Default)]
struct Common {
    headers: Fields,
    query: Fields,
    form: Fields,
    parse: Option<Parse>,
    message: Vec<Place>,
    loose: bool,
}

impl Common {
    fn read(table: Table) -> Self {
        let common = Self {
            headers: fields(&table, "headers"),
            query: fields(&table, "query"),
            form: fields(&table, "form"),
            parse: parse_rule(&table),
            message: places(&table, "message"),
            loose: loose(&table).unwrap_or(false),
        };
        table.finish();
        common
    }
}

fn parse_rule(table: &Table) -> Option<Parse> {
    table.word("parse", &[("type", Parse::ByType), ("json", Parse::Json), ("text", Parse::Text)])
}

fn loose(table: &Table) -> Option<bool> {
    table.word("compare", &[("exact", false), ("loose", true)])
}

fn call(table: &Table, all: &Common, method: &str, coding: Coding) -> Call {
    let method = match table.get("method") {
        None => method.to_string(),
        Some(item) => {
            let text = item.text().unwrap_or(method);
            if text.is_empty() || !text.bytes().all(|c| c.is_ascii_uppercase()) {
                item.wrong::<()>("a method is written in capitals, as POST is");
            }
            text.to_string()
        }
    };
    let loose = loose(table).unwrap_or(all.loose);
    let words = [("multipart", Coding::Multipart), ("urlencoded", Coding::Urlencoded), ("raw", Coding::Raw)];
    Call {
        method,
        url: table.get("url").and_then(|item| template(&item)),
        query: joined(&all.query, fields(table, "query")),
        form: joined(&all.form, fields(table, "form")),
        json: table.get("json").and_then(|item| json(&item)),
        text: table.get("text").and_then(|item| template(&item)),
        headers: joined(&all.headers, headers(table)),
        file: table.table("file").map(file_field),
        coding: table.word("body", &words).unwrap_or(coding),
        parse: parse_rule(table).or(all.parse).unwrap_or_default(),
        message: [places(table, "message"), all.message.clone()].concat(),
        stall: table.get("stall").and_then(|item| item.duration()),
        ok: predicates(table, "ok", loose),
        fatal: predicates(table, "fatal", loose),
        retry: predicates(table, "retry", loose),
    }
}

fn headers(table: &Table) -> Fields {
    let fields = fields(table, "headers");
    for (name, _) in &fields {
        if name.parse::<http::HeaderName>().is_err() {
            table.wrong(format!("{name:?} is not the name of a header"));
        }
    }
    fields
}

/// The fields of `all` with a call's own, which win where they have the same name.
fn joined(all: &Fields, own: Fields) -> Fields {
    let mut fields: Fields =
        all.iter().filter(|(name, _)| !own.iter().any(|(other, _)| other == name)).cloned().collect();
    fields.extend(own);
    fields
}

fn create(table: Table, all: &Common) -> Create {
    let call = call(&table, all, "POST", Coding::Urlencoded);
    let loose = loose(&table).unwrap_or(all.loose);
    let instant = predicates(&table, "instant", loose);
    let create = Create { instant, trust: trust(&table), capture: capture(&table), call };
    table.finish();
    create
}

fn capture(table: &Table) -> Vec<(String, Place)> {
    let Some(inner) = table.table("capture") else { return Vec::new() };
    inner.all().into_iter().filter_map(|(name, item)| Some((name.to_string(), place(&item)?))).collect()
}

fn trust(table: &Table) -> Trust {
    let words = [("exists", Trust::Exists), ("size", Trust::Size), ("hash", Trust::Hash)];
    table.word("trust", &words).unwrap_or_default()
}

fn have(table: Table, all: &Common, base: u64) -> Option<Have> {
    let call = call(&table, all, "GET", Coding::Urlencoded);
    let loose = loose(&table).unwrap_or(all.loose);
    let words = [("each", Mode::Each), ("list", Mode::List), ("offset", Mode::Offset), ("highest", Mode::Highest)];
    let mode = table.word("mode", &words);
    if table.get("mode").is_none() {
        table.wrong("[have] does not say its `mode`: each, list, offset or highest");
    }
    let have = Have {
        call,
        mode: mode.unwrap_or(Mode::Each),
        yes: predicates(&table, "yes", loose),
        no: predicates(&table, "no", loose),
        instant: predicates(&table, "instant", loose),
        at: table.get("at").and_then(|item| place(&item)),
        base: table.get("base").and_then(|item| item.count()).unwrap_or(base),
        trust: trust(&table),
    };
    match have.mode {
        Mode::Each if have.yes.is_empty() => table.wrong("[have] does not say which replies mean `yes`"),
        Mode::Each => {}
        _ if have.at.is_none() => table.wrong("[have] does not say `at` which place of the reply it stands"),
        _ => {}
    }
    table.finish();
    Some(have)
}

fn send(table: Table, all: &Common) -> Send {
    let call = call(&table, all, "POST", Coding::Multipart);
    let loose = loose(&table).unwrap_or(all.loose);
    if call.file.is_none() && call.coding == Coding::Multipart {
        table.wrong("[send] does not say which field is the `file`");
    }
    if call.coding == Coding::Urlencoded {
        table.wrong("[send] puts bytes into a form, so its `body` is multipart or raw");
    }
    let places = table.get("in").map(|item| {
        let words = texts(&item);
        if words.is_empty() || words.iter().any(|word| !matches!(word.as_str(), "form" | "query")) {
            item.wrong::<()>("a list of \"form\" and \"query\" is wanted");
        }
        words
    });
    let within = |word: &str| places.as_ref().map(|places| places.iter().any(|place| place == word));
    let json_field = table.table("json_field").map(|table| {
        table.all().into_iter().filter_map(|(name, item)| Some((name.to_string(), json(&item)?))).collect()
    });
    let raw = call.coding == Coding::Raw;
    let send = Send {
        index: fields(&table, "index"),
        resume: fields(&table, "resume"),
        json_field: json_field.unwrap_or_default(),
        in_form: within("form").unwrap_or(!raw) && !raw,
        in_query: within("query").unwrap_or(raw),
        capture: capture(&table),
        done: predicates(&table, "done", loose),
        restart: predicates(&table, "restart", loose),
        next: table.get("next").and_then(|item| place(&item)),
        same_name: table.get("same_name").and_then(|item| place(&item)),
        rename_id: table.get("rename_id").and_then(|item| place(&item)),
        call,
    };
    table.finish();
    send
}

fn file_field(table: Table) -> FileField {
    let field = table.get("field").and_then(|item| item.text()).map(str::to_string);
    if field.is_none() {
        table.wrong("file: the name of its `field` is missing");
    }
    let text = |key, default: &str| {
        table.get(key).and_then(|item| template(&item)).unwrap_or_else(|| Template::plain(default))
    };
    let read = FileField {
        filename: text("filename", "blob"),
        kind: text("type", "application/octet-stream"),
        last: table.get("last").and_then(|item| item.flag()).unwrap_or(true),
        field: field.unwrap_or_default(),
    };
    table.finish();
    read
}

fn finish(table: Table, all: &Common, base: u64) -> Finish {
    let call = call(&table, all, "POST", Coding::Urlencoded);
    let loose = loose(&table).unwrap_or(all.loose);
    let when = table.get("when").and_then(|item| match item.value.as_str() {
        Some("always") => None,
        _ => predicate(&item, loose),
    });
    let missing = table.table("missing").and_then(|table| {
        let at = table.get("at").and_then(|item| place(&item));
        let base = table.get("base").and_then(|item| item.count()).unwrap_or(base);
        table.finish();
        Some((at?, base))
    });
    let read = Finish { call, when, pending: predicates(&table, "pending", loose), missing };
    if read.call.ok.is_empty() {
        table.wrong("[finish] does not say which replies are `ok`");
    }
    table.finish();
    read
}

fn texts(item: &Item) -> Vec<String> {
    item.list().iter().filter_map(|item| item.text().map(str::to_string)).collect()
}

fn template(item: &Item) -> Option<Template> {
    let text = item.scalar()?;
    Template::parse(&text).map_err(|why| item.wrong::<()>(why)).ok()
}

fn fields(table: &Table, key: &'static str) -> Fields {
    let Some(inner) = table.table(key) else { return Fields::new() };
    inner.all().into_iter().filter_map(|(name, item)| Some((name.to_string(), template(&item)?))).collect()
}

fn place(item: &Item) -> Option<Place> {
    let text = item.text()?;
    Place::parse(text)
        .or_else(|| item.wrong("a place is \"body\", \"header:NAME\", \"json:PATH\" or \"range-end:NAME\""))
}

fn places(table: &Table, key: &'static str) -> Vec<Place> {
    let Some(item) = table.get(key) else { return Vec::new() };
    item.list().iter().filter_map(place).collect()
}

fn json(item: &Item) -> Option<Json> {
    match item.value {
        DeValue::Table(_) => {
            let entries = item.table()?.all();
            let entries = entries.into_iter().filter_map(|(name, item)| Some((name.to_string(), json(&item)?)));
            Some(Json::Object(entries.collect()))
        }
        DeValue::Array(_) => Some(Json::List(item.list().iter().filter_map(json).collect())),
        DeValue::String(_) => template(item).map(Json::Text),
        _ => item.json().map(Json::Value),
    }
}

fn predicates(table: &Table, key: &'static str, loose: bool) -> Vec<Predicate> {
    let Some(item) = table.get(key) else { return Vec::new() };
    item.list().iter().filter_map(|item| predicate(item, loose)).collect()
}

fn predicate(item: &Item, loose: bool) -> Option<Predicate> {
    let table = item.table()?;
    let wanted = |key: &'static str| -> Vec<(String, Wanted)> {
        let Some(inner) = table.table(key) else { return Vec::new() };
        let one = |(name, item): (&str, Item)| {
            let wanted = match item.value.as_str() {
                Some("*") => Wanted::Present,
                _ => Wanted::Equal(item.json()?),
            };
            Some((name.to_string(), wanted))
        };
        inner.all().into_iter().filter_map(one).collect()
    };
    let read = Predicate {
        status: table.get("status").and_then(|item| statuses(&item)),
        json: wanted("json"),
        truthy: table.get("truthy").map(|item| texts(&item)).unwrap_or_default(),
        falsy: table.get("falsy").map(|item| texts(&item)).unwrap_or_default(),
        header: wanted("header"),
        body: table.get("body").and_then(|item| item.text()).map(str::to_string),
        not: table.get("not").and_then(|item| predicate(&item, loose)).map(Box::new),
        loose,
    };
    if read == (Predicate { loose, ..Predicate::default() }) {
        item.wrong::<()>("an empty condition would hold for every reply");
    }
    table.finish();
    Some(read)
}

fn statuses(item: &Item) -> Option<Statuses> {
    if let Some(text) = item.value.as_str() {
        let class =
            text.strip_suffix("xx").and_then(|digit| digit.parse().ok()).filter(|class| (1..=5).contains(class));
        return class.map(Statuses::Class).or_else(|| item.wrong("a class of statuses is written \"2xx\""));
    }
    let one = |item: &Item| {
        let status = item.count()?;
        u16::try_from(status)
            .ok()
            .filter(|status| (100..=599).contains(status))
            .or_else(|| item.wrong("it is no status"))
    };
    Some(Statuses::These(item.list().iter().filter_map(one).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect::Key;
    use proptest::prelude::*;

    const LEAST: &str = "dialect = 1\nname = \"x\"\n[send]\nfile = { field = \"f\" }\nok = { status = \"2xx\" }\n";

    fn lines(text: &str) -> Vec<usize> {
        parse(text).unwrap_err().iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn the_least_dialect_and_its_defaults() {
        let dialect = parse(LEAST).unwrap();
        assert_eq!((dialect.chunks.size, dialect.chunks.base), (1 << 20, 0));
        assert!(dialect.send.call.file.as_ref().unwrap().last);
        assert_eq!((dialect.send.in_form, dialect.send.in_query), (true, false));
        assert!(dialect.is_by_offset(), "nothing numbers its chunks");
    }

    #[test]
    fn fields_keep_the_order_of_their_lines() {
        let text = LEAST.replace("ok =", "index = { z = \"{index}\", \"a \" = \"{count}\", m = 1 }\nok =");
        let dialect = parse(&text).unwrap();
        let names: Vec<&str> = dialect.send.index.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["z", "a ", "m"]);
        assert!(!dialect.is_by_offset());
        let long = LEAST.to_string()
            + "[send.index]\nsecond = \"{index}\"\nfirst = \"{hash}\"\n[identity]\nhash = { algo = \"md5\" }\n";
        let index = parse(&long).unwrap().send.index;
        assert_eq!((index[0].0.as_str(), index[1].1.keys().next()), ("second", Some(&Key::Hash)));
    }

    #[test]
    fn what_goes_into_all_calls_gives_way_to_their_own() {
        let text =
            LEAST.to_string() + "form = { b = \"own\" }\n[all]\nform = { a = \"1\", b = \"2\" }\ncompare = \"loose\"\n";
        let call = parse(&text).unwrap().send.call;
        assert_eq!(call.form, [("a".into(), Template::plain("1")), ("b".into(), Template::plain("own"))]);
        assert!(call.ok[0].loose);
    }

    #[test]
    fn every_slip_has_its_line() {
        assert_eq!(lines(""), [1, 1, 1]);
        assert_eq!(lines("dialect = 2\nname = 3\n[send]\nok = 1\nfile = {}\n"), [1, 1, 2, 4, 5]);
        assert_eq!(lines(&(LEAST.to_string() + "retry = [{ status = 99 },\n{ status = \"9xx\" }]\n")), [6, 7, 7]);
        assert_eq!(lines(&(LEAST.to_string() + "next = \"json:n\"\n")), [1], "it wants an order");
        assert_eq!(lines(&(LEAST.to_string() + "capture = { id = \"json:n\" }\n")), [1], "so does this");
        assert_eq!(lines(&(LEAST.to_string() + "[chunks]\nrepeat = \"stop\"\n")), [1]);
        assert_eq!(lines(&(LEAST.to_string() + "index = { a = \"{md5}\" }\n")), [1], "it wants a hash");
        assert_eq!(lines(&(LEAST.to_string() + "url = \"{md5}\"\n")), [1], "everywhere");
        assert_eq!(lines(&(LEAST.to_string() + "[create]\ntrust = \"hash\"\n")), [1], "there is none");
        assert_eq!(lines(&(LEAST.to_string() + "[identity]\nid = \"{env.X}\"\n")), [1], "a secret is not kept");
        assert_eq!(lines("dialect = 1\nname = \"x\"\n[send\n"), [3]);
        assert_eq!(lines(&format!("# {}\n", "x".repeat(300 << 10))), [1]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,120}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0usize..3000, to in any::<u8>(), which in 0usize..3) {
            let texts = [
                include_str!("../../remote/dialects/check-file.toml"),
                include_str!("../../remote/dialects/filepond.toml"),
                include_str!("../../remote/dialects/simple-uploader.toml"),
            ];
            let mut bytes = texts[which].as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(text) = String::from_utf8(bytes) {
                match parse(&text) {
                    Ok(dialect) => { let _ = (dialect.is_by_offset(), dialect.chunks.fitting(0), dialect.count(7, 1)); }
                    Err(problems) => prop_assert!(!problems.is_empty() && problems.iter().all(|problem| problem.line > 0)),
                }
            }
        }
    }
}

//! `ringway explain`: why a request goes where it goes, with the manifest line behind every step.

use super::Output;
use crate::explain::{Asked, Explanation, LogLine, Palette, Request, Source, Subject, TargetUrl, fetch};
use crate::object::decode;
use ringway_config::model::RuleId;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `ringway explain`.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "ringway explain <FILE|DIR>... --from WORKLOAD [METHOD] URL\n       ringway explain <FILE|DIR>... --rule ID\n       ringway explain --live ADMIN [METHOD] URL",
    after_help = "URL is http://host[:port]/path, or tcp://host:port for an opaque connection. The port of a gateway is the one its manifest names. \
                  A snapshot file of a proxy may stand in for the manifests."
)]
pub struct Arguments {
    /// Manifest files and folders, or one snapshot file; then the method (GET if there is none) and the URL.
    #[arg(value_name = "FILE|DIR|METHOD|URL")]
    words: Vec<String>,
    /// Whose proxy decides: a pod, workload or app, with its namespace if need be. Without it, the gateway that serves the URL's port.
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    from: Option<String>,
    /// A header line of the request, `Name: value`.
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,
    /// Ask the proxy on the side of the called app: what its listener for the URL's port does.
    #[arg(long)]
    inbound: bool,
    /// Ask a running proxy, by its admin server (unix:PATH or address:port).
    #[arg(long, value_name = "ADMIN")]
    live: Option<String>,
    /// Explain a line of a proxy's access log, text or JSON.
    #[arg(long, value_name = "LINE")]
    log: Option<String>,
    /// Say where the rule with this id stands.
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "headers", "inbound", "log"])]
    rule: Option<String>,
    /// Take security that is not enforced yet for a warning.
    #[arg(long)]
    allow_unenforced: bool,
    #[command(flatten)]
    heads: super::heads::Heads,
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What is asked.
struct Question {
    paths: Vec<PathBuf>,
    url: TargetUrl,
    request: Request,
}

/// Prints the explanation. 1 when nothing could be explained, 2 on wrong usage.
pub fn run(arguments: &Arguments) -> ExitCode {
    match answer(arguments) {
        Ok(text) => super::print(&text),
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}\n\nFor more information, try 'ringway explain --help'.");
            ExitCode::from(2)
        }
        Err(Failure::Finding(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(1)
        }
    }
}

enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// It does, and there is no answer.
    Finding(String),
}

fn answer(arguments: &Arguments) -> Result<String, Failure> {
    if let Some(id) = &arguments.rule {
        return rule(arguments, id);
    }
    let logged = arguments.log.as_deref().map(LogLine::parse).transpose().map_err(Failure::Usage)?;
    let question = question(arguments, logged.as_ref()).map_err(Failure::Usage)?;
    let source = source(arguments, question.paths)?;
    let asked = source.ask(arguments.from.as_deref(), arguments.inbound, &question.url, &question.request);
    let mut asked = asked.map_err(Failure::Finding)?;
    if let Some(listener) = logged.as_ref().and_then(|line| logged_listener(&asked.subject, line)) {
        asked.listener = listener;
    }
    let Asked { subject, listener, absent } = asked;
    let (told, request) = match question.url.tcp {
        true => (
            subject.explain_tcp(listener, question.url.host()),
            Request { authority: question.url.authority, ..Request::default() },
        ),
        false => (subject.explain(listener, &question.request, absent), question.request),
    };
    Ok(match arguments.output {
        Output::Json => {
            let mut json = told.json();
            if let Some(line) = &logged {
                json["logged"] =
                    serde_json::json!({"rule": subject.rule(line.rule).json(), "same_rule": line.rule == told.rule.id});
            }
            format!("{json:#}\n")
        }
        Output::Text => {
            let mut text = told.text(&request, Palette::new(super::colour_on_stdout()));
            if let Some(line) = &logged {
                text.push_str(&compared(&subject, &told, line));
            }
            text
        }
    })
}

/// The listener that took a logged request, where this configuration still has it.
fn logged_listener(subject: &Subject, line: &LogLine) -> Option<u32> {
    let address = line.listener?;
    let at = subject.view().listeners().iter().position(|listener| listener.address == address)?;
    u32::try_from(at).ok()
}

fn compared(subject: &Subject, told: &Explanation, line: &LogLine) -> String {
    match line.rule {
        RuleId(0) => "\nThe line names no rule.\n".into(),
        rule if rule == told.rule.id => "\nThe same rule as in the log.\n".into(),
        rule => format!(
            "\nThe log names another rule: {}. The configuration has changed since, or the rule looks at a header line that the log does not keep \
             (give it with -H).\n",
            subject.rule(rule)
        ),
    }
}

fn source(arguments: &Arguments, paths: Vec<PathBuf>) -> Result<Source, Failure> {
    if let Some(admin) = &arguments.live {
        return Ok(Source::Live(fetch(admin).map_err(Failure::Finding)?));
    }
    let options = decode::Options { allow_unenforced: arguments.allow_unenforced };
    let source = Source::read(&paths, options, arguments.heads.mesh()).map_err(Failure::Finding)?;
    if let Source::Manifests { diagnostics, .. } = &source {
        let colour = super::colour_on_stderr();
        diagnostics.iter().filter(|d| d.is_error()).for_each(|d| eprintln!("{}", d.render(colour)));
    }
    Ok(source)
}

/// Sorts the words: files, then perhaps a method, then a URL.
fn question(arguments: &Arguments, logged: Option<&LogLine>) -> Result<Question, String> {
    let mut words = arguments.words.clone();
    let mut headers = Vec::new();
    for line in &arguments.headers {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("`{line}` is no header line: write `Name: value`"))?;
        headers.push((name.trim().to_string(), value.trim().to_string()));
    }
    let (url, mut request) = match logged {
        Some(line) => {
            let request = line.request.clone();
            (TargetUrl { tcp: false, authority: request.authority.clone(), target: request.target.clone() }, request)
        }
        None => {
            let url = TargetUrl::parse(&words.pop().ok_or("a URL is missing")?)?;
            let method = words.pop_if(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase()));
            let method = method.unwrap_or_else(|| "GET".to_string());
            let request =
                Request { method, target: url.target.clone(), authority: url.authority.clone(), headers: Vec::new() };
            (url, request)
        }
    };
    if let Some(at) = headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request.authority = headers.remove(at).1;
    }
    request.headers.extend(headers);
    let paths: Vec<PathBuf> = words.into_iter().map(PathBuf::from).collect();
    match (paths.is_empty(), arguments.live.is_some()) {
        (true, false) => {
            Err("manifests are missing: name files or folders before the URL, or a running proxy with --live".into())
        }
        (false, true) => Err("--live asks a running proxy: leave the manifests out".into()),
        _ => Ok(Question { paths, url, request }),
    }
}

fn rule(arguments: &Arguments, id: &str) -> Result<String, Failure> {
    let number = u32::from_str_radix(id, 16)
        .map_err(|_| Failure::Usage(format!("`{id}` is no rule id: eight hexadecimal digits")))?;
    if arguments.words.is_empty() && arguments.live.is_none() {
        return Err(Failure::Usage("manifests are missing: name the files or folders that may hold the rule".into()));
    }
    let source = source(arguments, arguments.words.iter().map(PathBuf::from).collect())?;
    let rule = source.rule(RuleId(number));
    let rule = rule.ok_or_else(|| {
        Failure::Finding(format!("no rule in force has the id {number:08x}; was the object edited or refused?"))
    })?;
    Ok(match arguments.output {
        Output::Json => format!("{:#}\n", rule.json()),
        Output::Text => format!("{rule}\n"),
    })
}

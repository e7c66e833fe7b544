//! Reads manifests again and again, and each time only the documents that changed.
//!
//! A document is the same when its bytes are, and it starts on the same line of the same file: then everything that was found in it stands where it
//! stood. So an edit within a document costs that document, and one that moves others down costs those as well.

use super::decode::{Context, Options};
use super::objects::{Entry, Rank, decode, scalar};
use super::{Object, ObjectRef, SourceFile, Spot};
use crate::diagnostic::Diagnostic;
use crate::yaml::{self, Node, Piece, Spent, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Texts of one file that unchanged documents may hold on to. Beyond them the file is read anew.
const TEXTS_MAX: usize = 8;

/// What was read the last time.
#[derive(Debug, Default)]
pub(super) struct Memory {
    files: HashMap<Arc<str>, Known>,
    options: Options,
}

/// A file that was read.
#[derive(Debug)]
struct Known {
    file: Arc<SourceFile>,
    /// The rank of the last document before it.
    rank: u32,
    parts: Parts,
}

/// The documents of a file. The very same as long as the file is.
pub(super) type Parts = Arc<Vec<Part>>;

/// Some documents of a file.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The file as it was when they were read.
    file: Arc<SourceFile>,
    piece: Piece,
    spent: Spent,
    pub documents: Arc<Vec<Document>>,
}

/// One document, or one item of a List.
#[derive(Debug)]
pub(super) struct Document {
    pub outcome: Outcome,
    pub spot: Spot,
    /// It has an error: what was understood of it does not hold.
    pub broken: bool,
    pub diagnostics: Vec<Diagnostic>,
}

impl Document {
    /// Its object, if there is nothing else to say of it.
    pub fn sound(&self) -> Option<&Arc<Entry>> {
        match &self.outcome {
            Outcome::Understood(entry) if !self.broken && self.diagnostics.is_empty() => Some(entry),
            _ => None,
        }
    }
}

/// What became of a document.
#[derive(Debug)]
pub(super) enum Outcome {
    /// As it was ranked when it was read.
    Understood(Arc<Entry>),
    Refused(ObjectRef),
    /// Nobody can say what it is.
    Nameless,
    /// Not for us.
    Foreign(String),
    /// Said all there is to say.
    Done,
}

/// What a decoder makes of a document.
pub(super) enum Decoded {
    Understood(Box<Object>),
    Other(Outcome),
}

impl Memory {
    /// For a reading under these options. Under others everything may come to something else.
    pub fn under(&mut self, options: Options) -> &mut Memory {
        if self.options != options {
            *self = Memory { files: HashMap::new(), options };
        }
        self
    }

    /// Forgets all files but these.
    pub fn keep(&mut self, names: &HashSet<&str>) {
        self.files.retain(|name, _| names.contains(&**name));
    }

    /// The documents of a file. `rank` is that of the last document before it, for those that are read now.
    ///
    /// # Errors
    /// What is wrong with a file that is no list of documents; what it held before is still remembered.
    pub fn read(&mut self, file: &Arc<SourceFile>, rank: u32) -> Result<Parts, Box<Diagnostic>> {
        let known = self.files.get(&file.name);
        let same =
            |known: &&Known| known.rank == rank && (Arc::ptr_eq(&known.file, file) || known.file.text == file.text);
        if let Some(known) = known.filter(same) {
            return Ok(known.parts.clone());
        }
        let before = known.map_or(&[][..], |known| &known.parts);
        let parts = read(file, before, self.options, rank).map_err(|error| {
            let spot = Spot { file: file.clone(), span: error.span };
            Box::new(Diagnostic::error(error.code, error.message, error.mend).at(spot.place()))
        })?;
        let parts = Arc::new(parts);
        self.files.insert(file.name.clone(), Known { file: file.clone(), rank, parts: parts.clone() });
        Ok(parts)
    }
}

fn read(file: &Arc<SourceFile>, before: &[Part], options: Options, rank: u32) -> Result<Vec<Part>, yaml::YamlError> {
    let budget = yaml::Budget::default();
    budget.admits(&file.text)?;
    let known = by_line(before);
    let (mut parts, mut spent, mut rank) = (Vec::new(), Spent::default(), rank);
    for piece in yaml::pieces(&file.text) {
        let same = |part: &&&Part| part.file.text[part.piece.range.clone()] == file.text[piece.range.clone()];
        let part = match known.get(&piece.line).filter(same) {
            Some(part) if budget.affords(spent.and(part.spent)) => Part::clone(part),
            _ => {
                let mut after = spent;
                let nodes = yaml::parse_piece(&file.text, &piece, &budget, &mut after)?;
                let documents = documents(file, &nodes, options, rank);
                Part { file: file.clone(), piece, spent: after.without(spent), documents: Arc::new(documents) }
            }
        };
        spent = spent.and(part.spent);
        rank = rank.saturating_add(u32::try_from(part.documents.len()).unwrap_or(u32::MAX));
        parts.push(part);
    }
    Ok(parts)
}

/// The parts by the lines on which they start; none when they hold on to too many texts.
fn by_line(parts: &[Part]) -> HashMap<u32, &Part> {
    let texts: HashSet<_> = parts.iter().map(|part| Arc::as_ptr(&part.file)).collect();
    if texts.len() > TEXTS_MAX {
        return HashMap::new();
    }
    parts.iter().map(|part| (part.piece.line, part)).collect()
}

fn documents(file: &Arc<SourceFile>, nodes: &[Node], options: Options, mut rank: u32) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut put = |node| {
        rank = rank.saturating_add(1);
        documents.push(document(file, node, options, rank));
    };
    for node in nodes {
        match node.get("items").map(|items| &items.value) {
            Some(Value::Sequence(items)) if scalar(node, "kind") == Some("List") => items.iter().for_each(&mut put),
            _ => put(node),
        }
    }
    documents
}

fn document(file: &Arc<SourceFile>, node: &Node, options: Options, rank: u32) -> Document {
    let mut context = Context::new(file.clone(), options);
    let decoded = decode(&mut context, node);
    let (spot, broken) = (context.spot(node.span), context.broken());
    let outcome = match decoded {
        Decoded::Understood(object) => Outcome::Understood(Arc::new(Entry { object: *object, rank: Rank(rank) })),
        Decoded::Other(outcome) => outcome,
    };
    Document { outcome, spot, broken, diagnostics: context.finish() }
}

#[cfg(test)]
mod tests {
    use super::super::{Loaded, Manifests, objects};
    use super::*;
    use proptest::prelude::*;

    const DOCUMENTS: [&str; 11] = [
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 80}]}\n",
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 8080}]}\n",
        "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec:\n  ports: [{name: http, port: 80}]\n",
        "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec:\n  prots: []\n",
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}\n- {apiVersion: v1, kind: Service, metadata: {name: c}, spec: {ports: [{port: 1}]}}\n",
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\n",
        "apiVersion: v1\nkind: Service\nmetadata: {}\n",
        "# é nothing\n",
        "a: [\n",
        "a: &x 1\nb: *x\n",
        "\n",
    ];

    fn file(name: &str, documents: &[usize]) -> Arc<SourceFile> {
        let texts: Vec<_> = documents.iter().map(|n| DOCUMENTS[*n]).collect();
        Arc::new(SourceFile { name: name.into(), text: texts.join("---\n") })
    }

    /// Everything, with the lines that places show.
    fn told(loaded: &Loaded) -> String {
        let places: Vec<_> = loaded.objects.iter().map(|entry| entry.object.meta().spot.place()).collect();
        format!("{loaded:#?} {places:#?}")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_again_is_what_is_read_anew(
            states in prop::collection::vec(
                (prop::collection::vec(0..DOCUMENTS.len(), 0..8), prop::collection::vec(0..DOCUMENTS.len(), 0..3), any::<bool>()),
                1..8,
            ),
        ) {
            let mut manifests = Manifests::default();
            for (first, second, apart) in &states {
                let (first, second) = (file("a.yaml", first), file("b.yaml", second));
                let groups = if *apart { vec![vec![second], vec![first]] } else { vec![vec![first, second]] };
                let again = manifests.load(&groups, Options::default());
                prop_assert_eq!(told(&again), told(&objects::load(&groups, Options::default())));
            }
        }
    }

    #[test]
    fn a_document_that_becomes_another_one_where_it_stands() {
        for (here, there) in (0..DOCUMENTS.len()).flat_map(|here| (0..DOCUMENTS.len()).map(move |there| (here, there)))
        {
            for (others, apart) in [(&[2, 5][..], true), (&[2, 2], true), (&[0], true), (&[0], false), (&[1, 3], true)]
            {
                let mut manifests = Manifests::default();
                for documents in [[2, here, 4], [2, there, 4], [2, here, 4]] {
                    let (first, second) = (file("a.yaml", &documents), file("b.yaml", others));
                    let groups = if apart { vec![vec![second], vec![first]] } else { vec![vec![first, second]] };
                    let again = manifests.load(&groups, Options::default());
                    assert_eq!(
                        told(&again),
                        told(&objects::load(&groups, Options::default())),
                        "{here} {there} {others:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_did_not_change_is_the_very_same() {
        let mut manifests = Manifests::default();
        let mut load =
            |documents: &[usize]| manifests.load(&[vec![file("a.yaml", documents)]], Options::default()).objects;
        let same = |one: &objects::Objects, other: &objects::Objects| {
            let same = one.iter().filter(|entry| {
                other.get(&entry.object.meta().reference).is_some_and(|other| Arc::ptr_eq(entry, other))
            });
            same.map(|entry| entry.object.meta().name().to_owned()).collect::<Vec<_>>()
        };
        let first = load(&[0, 2, 4]);
        let edited = load(&[1, 2, 4]);
        assert_eq!(same(&first, &edited), ["b", "c", "a"]);
        // A file that is half written is no file; what it held is remembered.
        assert!(load(&[1, 8]).is_empty());
        assert_eq!(same(&edited, &load(&[1, 2, 4])), ["a", "b", "c", "a"]);
        // What moved down stands elsewhere.
        assert_eq!(same(&edited, &load(&[1, 7, 2, 4])), ["a"]);
    }

    #[test]
    fn a_file_is_read_anew_before_it_keeps_many_texts_alive() {
        let mut memory = Memory::default();
        let text = |at: usize, round: usize| {
            let documents = (0..20).map(|n| format!("a: {}\n", if n == at { round } else { 0 }));
            documents.collect::<Vec<_>>().join("---\n")
        };
        for round in 0..20 {
            let file = Arc::new(SourceFile { name: "a.yaml".into(), text: text(round, 1000 + round) });
            let parts = memory.read(&file, 0).unwrap();
            let texts: HashSet<_> = parts.iter().map(|part| Arc::as_ptr(&part.file)).collect();
            assert!(texts.len() <= TEXTS_MAX + 1, "{}", texts.len());
        }
    }
}

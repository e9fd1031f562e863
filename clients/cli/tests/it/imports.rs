//! `contacts import`: what is sent, what is kept of rejected rows, how it ends.

use std::fs;
use std::path::PathBuf;

use proto::v1::{ImportContactsRequest, ImportContactsResponse, ImportRow, RejectedRow};
use tempfile::TempDir;
use tonic::Status;

use crate::{Ended, Fake, Reply, run};

const METHOD: &str = "ContactService.ImportContacts";

struct Case {
    fake: Fake,
    folder: TempDir,
    file: PathBuf,
}

fn case(bytes: &[u8]) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.csv");
    fs::write(&file, bytes).unwrap();
    Case { fake: Fake::start(), folder, file }
}

impl Case {
    fn import(&self, words: &[&str]) -> Ended {
        run(&self.fake, &[&["contacts", "import", self.file.to_str().unwrap()], words].concat())
    }

    fn sent(&self) -> Vec<ImportRow> {
        let messages: Vec<ImportContactsRequest> = self.fake.messages(METHOD).remove(0);
        messages.into_iter().flat_map(|it| it.rows).collect()
    }

    fn report(&self) -> String {
        fs::read_to_string(self.folder.path().join("people.csv.rejected.csv")).unwrap_or_default()
    }
}

#[test]
fn rows_are_sent_in_batches_after_the_options() {
    let mut text = String::from("\u{feff}id,name,mobile,district\n");
    for number in 0..25 {
        text.push_str(&format!("E{number},Person {number},98{number:08},Pune\n"));
    }
    let case = case(text.as_bytes());
    let ended = case.import(&["--country", "IN", "--audience", "staff", "--batch", "10", "--others"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.is_empty(), "no bar where there is no terminal: {ended:?}");
    let messages: Vec<ImportContactsRequest> = case.fake.messages(METHOD).remove(0);
    let options = messages[0].options.clone().unwrap();
    assert_eq!((options.default_country.as_str(), options.audience.as_str()), ("IN", "audiences/staff"));
    assert_eq!(options.request_id.len(), 36);
    assert_eq!(messages.iter().map(|it| it.rows.len()).collect::<Vec<_>>(), [0, 10, 10, 5]);
    let first = messages[1].rows[0].clone();
    assert_eq!(first.line, 2);
    let contact = first.contact.unwrap();
    assert_eq!((contact.external_id.as_str(), contact.attributes["district"].as_str()), ("E0", "Pune"));
    assert!(!case.folder.path().join("people.csv.rejected.csv").exists());
}

#[test]
fn broken_rows_are_reported_with_their_line_and_the_rest_is_sent() {
    let case = case(b"name,phone\nAsha,+911\nBroken\nRavi,+912\n\xff\xfe,+913\n");
    let answer = ImportContactsResponse {
        received_count: 2,
        created_count: 1,
        rejected_count: 1,
        rejected_rows: vec![RejectedRow {
            line: 2,
            field: "addresses[0].value".into(),
            reason: "ADDRESS_INVALID".into(),
            description: "`+911` is no number.".into(),
        }],
        ..Default::default()
    };
    case.fake.answers(METHOD, [Reply::message(&answer)]);
    let ended = case.import(&[]);
    assert_eq!(ended.code, 65, "{ended:?}");
    assert_eq!(case.sent().len(), 2);
    let report = [
        "line,field,reason,description",
        "2,addresses[0].value,ADDRESS_INVALID,`+911` is no number.",
        "3,,FIELD_INVALID,the row has 1 columns where the first one has 2",
        "5,column 1,FIELD_INVALID,it is not UTF-8",
        "",
    ];
    assert_eq!(case.report(), report.join("\n"));
    assert!(ended.out.contains("rejected              3"), "{ended:?}");
    assert!(ended.err.contains("rejected rows are in"), "{ended:?}");
    assert_eq!(case.import(&["--rejected-exit-code", "0"]).code, 0);
    assert_eq!(case.import(&["--rejected-exit-code", "9"]).code, 9);
}

#[test]
fn a_file_without_a_header_goes_by_number() {
    let case = case(b"Asha;+919812345678\nRavi;+919812345679\n");
    assert_eq!(case.import(&["--delimiter", ";", "--name", "1", "--phone", "2"]).code, 0);
    let rows = case.sent();
    assert_eq!(rows.iter().map(|it| it.line).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(rows[0].contact.as_ref().unwrap().display_name, "Asha");
}

#[test]
fn a_column_that_is_not_there_is_refused_before_anything_is_sent() {
    let case = case(b"a,b\n1,2\n");
    let ended = case.import(&["--phone", "Mobile"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("there is no column `Mobile`; the file has: a, b"), "{ended:?}");
    assert_eq!(case.fake.count(METHOD), 0);
}

#[test]
fn a_refusal_in_the_middle_ends_with_its_code() {
    let case = case(b"phone\n+911\n");
    case.fake.answers(METHOD, [Reply::refusal(Status::failed_precondition("the audience is no list"))]);
    let ended = case.import(&[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("the audience is no list"), "{ended:?}");
}

#[test]
fn an_empty_file_is_refused() {
    let case = case(b"");
    let ended = case.import(&[]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("is empty"), "{ended:?}");
}

//! OpenTelemetry profiles: the server decodes with the published messages.

use super::receiver::{Answer, Receiver, gunzipped};
use super::{Pushing, sent_in_time, within_one_percent};
use crate::support::until;
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::profiles::v1development::ProfilesDictionary;
use prost::Message;

fn text(value: &Option<AnyValue>) -> &str {
    match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn requests(receiver: &Receiver) -> Vec<ExportProfilesServiceRequest> {
    let decode = |body: &[u8]| ExportProfilesServiceRequest::decode(&*gunzipped(body)).unwrap();
    receiver.requests().iter().map(|request| decode(&request.body)).collect()
}

/// The nanoseconds of the samples of these threads in a request.
fn nanos(request: &ExportProfilesServiceRequest, thread: &str) -> i64 {
    let tables: &ProfilesDictionary = request.dictionary.as_ref().unwrap();
    let name = |index: i32| tables.string_table[index as usize].as_str();
    let profiles = request.resource_profiles.iter().flat_map(|resource| &resource.scope_profiles);
    let profiles = profiles.flat_map(|scope| &scope.profiles);
    let samples = profiles
        .filter(|profile| name(profile.sample_type.unwrap().type_strindex) == "cpu")
        .flat_map(|profile| &profile.samples);
    let is_of = |index: &i32| {
        let attribute = &tables.attribute_table[*index as usize];
        name(attribute.key_strindex) == "thread.name" && text(&attribute.value) == thread
    };
    samples
        .filter(|sample| sample.attribute_indices.iter().any(is_of))
        .map(|sample| sample.values.iter().sum::<i64>())
        .sum()
}

#[test]
fn all_time_of_a_run_is_pushed_by_otlp() {
    let (receiver, ended) = sent_in_time(|| {
        let receiver =
            Receiver::start(|_| Answer::Body("200 OK", ExportProfilesServiceResponse::default().encode_to_vec()));
        let more = ", format: otlp, labels: { host.name: loom-7 }";
        let program = Pushing::start("push-otlp", receiver.port(), more, "profile: { waits: true }");
        until("two intervals", || receiver.requests().len() >= 2);
        (receiver, program.end())
    });
    let requests = requests(&receiver);
    assert_eq!(ended.summary(), format!("{} intervals pushed to http://127.0.0.1:{}", requests.len(), receiver.port()));
    let burnt = requests.iter().map(|request| nanos(request, "main/burner-*")).sum();
    within_one_percent(burnt, ended.burnt(), "the burners");
    let head = &receiver.requests()[0].head;
    assert!(head.starts_with("POST /v1development/profiles HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n"), "{head}");
    for request in &requests {
        follows_the_rules(request);
    }
}

/// What the comments of the messages ask for.
fn follows_the_rules(request: &ExportProfilesServiceRequest) {
    let tables = request.dictionary.as_ref().unwrap();
    assert_eq!(tables.string_table[0], "");
    assert_eq!(tables.mapping_table[0], Default::default());
    assert_eq!(tables.location_table[0], Default::default());
    assert_eq!(tables.function_table[0], Default::default());
    assert_eq!(tables.link_table, [Default::default()]);
    assert_eq!(tables.attribute_table[0], Default::default());
    assert_eq!(tables.stack_table[0], Default::default());
    let [resource] = &request.resource_profiles[..] else { panic!("one resource") };
    let attributes: Vec<(&str, &str)> = resource
        .resource
        .as_ref()
        .unwrap()
        .attributes
        .iter()
        .map(|pair| (pair.key.as_str(), text(&pair.value)))
        .collect();
    assert_eq!(attributes, [("service.name", "subject"), ("host.name", "loom-7")]);
    let [scope] = &resource.scope_profiles[..] else { panic!("one scope") };
    assert_eq!(scope.scope.as_ref().unwrap().name, "selvedge");
    let is_in = |index: i32, length: usize| index > 0 && (index as usize) < length;
    for profile in &scope.profiles {
        assert!(profile.profile_id.len() == 16 && profile.profile_id.iter().any(|byte| *byte != 0));
        assert!(profile.time_unix_nano > 0 && profile.duration_nano > 0 && profile.period > 0);
        assert!(!profile.samples.is_empty());
        for sample in &profile.samples {
            assert!(is_in(sample.stack_index, tables.stack_table.len()) && sample.values.len() == 1);
            for index in &tables.stack_table[sample.stack_index as usize].location_indices {
                assert!(is_in(*index, tables.location_table.len()));
                let location = &tables.location_table[*index as usize];
                assert!(!location.lines.is_empty() && (location.mapping_index as usize) < tables.mapping_table.len());
                assert!(location.lines.iter().all(|line| is_in(line.function_index, tables.function_table.len())));
            }
        }
    }
}

/// The log of a program whose server gives this answer to each request. None counts as pushed.
fn answered(name: &str, status: &'static str, body: Vec<u8>) -> String {
    let (receiver, ended) = sent_in_time(|| {
        let body = body.clone();
        let receiver = Receiver::start(move |_| Answer::Body(status, body.clone()));
        let program = Pushing::start(name, receiver.port(), ", format: otlp", "");
        until("an interval", || !receiver.requests().is_empty());
        (receiver, program.end())
    });
    let lost = (ended.pushed(), ended.lost("refused by the server"));
    assert_eq!(lost, (0, receiver.requests().len()), "{}", ended.log);
    ended.log
}

#[test]
fn an_answer_in_chunks_or_a_long_one_is_read_whole() {
    for length in [7, 20_000] {
        let error_message = "x".repeat(length);
        let partial = ExportProfilesPartialSuccess { rejected_profiles: 1, error_message };
        let answer = ExportProfilesServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let chunk = [format!("{:x}\r\n", answer.len()).as_bytes(), &answer, b"\r\n0\r\n\r\n"].concat();
        let log = answered("push-otlp-chunks", "200 OK\r\nTransfer-Encoding: chunked", chunk);
        assert!(log.contains("the server has rejected 1 profile of it (xxxxxxx"), "{log}");
        let log = answered("push-otlp-long", "200 OK", answer);
        assert!(log.contains("the server has rejected 1 profile of it (xxxxxxx"), "{log}");
    }
}

#[test]
fn an_interval_whose_answer_cannot_be_read_is_not_told_as_pushed() {
    let log = answered("push-otlp-text", "200 OK", b"thank you".to_vec());
    assert!(log.contains("the answer of the server cannot be read ("), "{log}");
    let log = answered("push-otlp-broken", "200 OK\r\nTransfer-Encoding: chunked", b"9\r\nthank you!!".to_vec());
    assert!(log.contains("what it says cannot be read: its chunks are broken"), "{log}");
}

#[test]
fn what_a_server_rejects_of_a_request_is_lost() {
    let partial = ExportProfilesPartialSuccess { rejected_profiles: 1, error_message: "too old\n".to_owned() };
    let answer = ExportProfilesServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let (receiver, ended) = sent_in_time(|| {
        let answer = answer.clone();
        let receiver = Receiver::start(move |_| Answer::Body("200 OK", answer.clone()));
        let program = Pushing::start("push-otlp-partial", receiver.port(), ", format: otlp", "");
        until("an interval", || !receiver.requests().is_empty());
        (receiver, program.end())
    });
    assert_eq!((ended.pushed(), ended.lost("refused by the server")), (0, receiver.requests().len()), "{}", ended.log);
    assert!(ended.log.contains("the server has rejected 1 profile of it (too old)"), "{}", ended.log);
}

use super::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn record(second: i64, event: Event, pod: &str) -> Record {
    Record {
        time: time(second),
        event,
        protocol: Protocol::Tcp,
        pod: (!pod.is_empty()).then(|| pod.to_owned()),
        from: "10.244.1.10:41000".parse().unwrap(),
        egress: (event != Event::Refused).then(|| "10.10.0.11:33072".parse().unwrap()),
        to: "198.51.100.9:443".parse().unwrap(),
        policy: None,
        opened: None,
        last: None,
        reason: (event == Event::Refused).then(|| "DROP_NO_PORT".to_owned()),
        packets: None,
    }
}

fn flows(filter: Filter, records: impl IntoIterator<Item = Record>) -> Flows {
    let mut flows = Flows::new(filter, None);
    records.into_iter().for_each(|record| flows.line(Line::Record(Box::new(record))));
    flows
}

fn of(filter: Filter, records: impl IntoIterator<Item = Record>) -> Vec<(State, Option<String>)> {
    flows(filter, records).end(true).into_iter().map(|flow| (flow.state, flow.pod)).collect()
}

#[test]
fn a_line_is_read_as_it_was_written() {
    let note = Note { time: time(7), log: Mark::Lost, count: 3 };
    let mut refused = record(1, Event::Refused, "prod/web");
    refused.protocol = Protocol::Other(132);
    for line in [
        Line::Record(Box::new(record(1, Event::Opened, "prod/web"))),
        Line::Record(Box::new(refused)),
        Line::Note(note),
    ] {
        assert_eq!(Line::parse(&serde_json::to_string(&line).unwrap()), Some(line));
    }
    assert_eq!(Line::parse("{\"time\":\"2026"), None);
}

#[test]
fn one_port_belongs_to_one_pod_after_the_other() {
    let records = || {
        [
            record(10, Event::Opened, "prod/first"),
            record(20, Event::Closed, ""),
            record(30, Event::Opened, "prod/second"),
            record(40, Event::Expired, "prod/second"),
        ]
    };
    let found = flows(Filter::default(), records()).end(true);
    let at = |second| -> Vec<_> {
        found
            .iter()
            .filter(|flow| flow.lived_at(time(second)) == Some(true))
            .map(|flow| flow.pod.clone().unwrap())
            .collect()
    };
    assert_eq!(
        (at(9), at(10), at(15)),
        (vec![], vec!["prod/first".to_owned()], vec!["prod/first".to_owned()])
    );
    assert_eq!((at(25), at(30), at(41)), (vec![], vec!["prod/second".to_owned()], vec![]));
    let first = Filter { pod: Some("prod/first".to_owned()), ..Filter::default() };
    assert_eq!(
        of(first, records()),
        [(State::Closed, Some("prod/first".to_owned()))],
        "the end without a name, too"
    );
}

#[test]
fn what_the_log_does_not_have_is_said_to_be_unknown() {
    // The opening had no room, or was in a file that has gone.
    let end = Record { opened: Some(time(5)), ..record(20, Event::Closed, "prod/web") };
    let found = flows(Filter::default(), [end]).end(true);
    assert_eq!((found[0].opened, found[0].ended), (Some(time(5)), Some(time(20))));
    // The end had no room: the port was given again, or the node does not have it any more.
    let twice = [record(10, Event::Opened, "prod/first"), record(30, Event::Opened, "prod/second")];
    let found = flows(Filter::default(), twice).end(true);
    assert_eq!(found.iter().map(|flow| flow.state).collect::<Vec<_>>(), [State::Lost; 2]);
    assert_eq!(found[0].lived_at(time(20)), None);
    assert_eq!(found[0].lived_at(time(9)), Some(false));
    // A flow of before the log.
    let mut older = flows(Filter::default(), []);
    let ends = |from: &str| {
        (from.parse().unwrap(), "10.10.0.11:1".parse().unwrap(), "198.51.100.9:443".parse().unwrap())
    };
    older.is_open(Protocol::Tcp, ends("10.244.1.10:1"), None);
    let found = older.end(true);
    assert_eq!((found[0].state, found[0].lived_at(time(9))), (State::Open, None));
    assert_eq!(of(Filter::default(), [record(10, Event::Refused, "prod/web")])[0].0, State::Refused);
}

#[test]
fn a_flow_that_the_node_has_is_open_and_has_the_name_of_its_opening() {
    let mut found = flows(Filter::default(), [record(10, Event::Opened, "prod/web")]);
    let opening = record(10, Event::Opened, "");
    found.is_open(Protocol::Tcp, (opening.from, opening.egress.unwrap(), opening.to), Some(time(10)));
    let found = found.end(true);
    assert_eq!((found.len(), found[0].state, found[0].pod.as_deref()), (1, State::Open, Some("prod/web")));
    assert_eq!(found[0].lived_at(time(1000)), Some(true));
}

#[test]
fn what_was_lost_while_nobody_wrote_is_told() {
    let note = |second, log, count| Line::Note(Note { time: time(second), log, count });
    let mut flows = Flows::default();
    for line in [
        note(1, Mark::Began, 5),
        note(2, Mark::Lost, 3),
        note(3, Mark::Began, 8),
        note(4, Mark::Began, 10),
        note(5, Mark::Unwritten, 1),
        // The machine has booted.
        note(6, Mark::Began, 0),
    ] {
        flows.line(line);
    }
    let told: Vec<_> = flows.notes().iter().map(|note| (note.time, note.log, note.count)).collect();
    assert_eq!(told, [(time(2), Mark::Lost, 3), (time(4), Mark::Lost, 2), (time(5), Mark::Unwritten, 1)]);
    assert_eq!(flows.reaches_back_to(), Some(time(1)));
}

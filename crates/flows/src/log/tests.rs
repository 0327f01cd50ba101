use super::*;
use crate::read::Lines;
use crate::record::{Line, Mark, Note};

const DAY: Duration = Duration::from_secs(86_400);

fn place(test: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("egret-flows-{test}-{}", std::process::id()));
    drop(fs::remove_dir_all(&directory));
    directory
}

fn at(seconds: i64) -> Now {
    Now {
        wall: Timestamp::from_second(1_700_000_000 + seconds).unwrap(),
        running: Duration::from_secs(seconds as u64),
    }
}

fn line(count: i64) -> Vec<u8> {
    let note = Note { time: at(count).wall, log: Mark::Lost, count };
    [serde_json::to_vec(&note).unwrap(), b"\n".to_vec()].concat()
}

fn counts(directory: &Path) -> (Vec<i64>, u64) {
    let (mut lines, mut counts) = (Lines::of(directory), Vec::new());
    lines
        .read(|line| {
            if let Line::Note(note) = line {
                counts.push(note.count)
            }
        })
        .unwrap();
    (counts, lines.broken())
}

fn limits(size: u64) -> Limits {
    Limits { size, age: DAY }
}

#[test]
fn the_oldest_lines_go_when_there_are_too_many_and_the_newest_stay() {
    let directory = place("size");
    let size = 10 * LEAST;
    let mut log = Log::open(&directory, limits(size), at(0)).unwrap();
    for count in 0..3000 {
        log.write(&line(count), at(1)).unwrap();
    }
    let on_disk: u64 =
        parts(&directory).unwrap().iter().map(|(_, path)| path.metadata().unwrap().len()).sum();
    assert_eq!(on_disk, log.bytes());
    assert!((size * 3 / 4..=size).contains(&on_disk), "{on_disk} bytes of {size}");
    let (counts, broken) = counts(&directory);
    assert_eq!((counts.last(), broken), (Some(&2999), 0));
    assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "without a gap");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_is_too_old_goes_by_a_clock_that_nobody_sets() {
    let directory = place("age");
    let mut log = Log::open(&directory, limits(1 << 20), at(0)).unwrap();
    let day = 86_400;
    log.write(&line(1), at(10)).unwrap();
    log.write(&line(2), at(day / 2)).unwrap();
    // The clock of people is set on by a year, and back by two.
    let year = jiff::SignedDuration::from_hours(24 * 365);
    let on = Now { wall: at(day / 2 + 1).wall + year, ..at(day / 2 + 1) };
    log.write(&line(3), on).unwrap();
    let back = Now { wall: at(day).wall - year, ..at(day) };
    log.write(&line(4), back).unwrap();
    assert_eq!(counts(&directory).0, [1, 2, 3, 4]);
    log.write(&line(5), Now { running: Duration::from_secs(day as u64 + 11 + 1), ..back }).unwrap();
    assert_eq!(counts(&directory).0, [2, 3, 4, 5], "one is older than a day");

    // A process that begins anew knows the age of what is there by its files.
    for (_, path) in parts(&directory).unwrap() {
        let old = std::time::SystemTime::from(at(-3 * day).wall);
        File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
    let mut log = Log::open(&directory, limits(1 << 20), at(0)).unwrap();
    log.write(&line(6), at(1)).unwrap();
    assert_eq!(counts(&directory).0, [6], "three days old");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_line_that_a_crash_cut_off_is_not_mixed_with_the_next() {
    let directory = place("crash");
    let mut log = Log::open(&directory, limits(1 << 20), at(0)).unwrap();
    log.write(&[line(1), line(2)].concat(), at(1)).unwrap();
    drop(log);
    let (_, path) = parts(&directory).unwrap().pop().unwrap();
    let mut file = File::options().append(true).open(&path).unwrap();
    let half = line(3);
    file.write_all(&half[..half.len() / 2]).unwrap();
    assert_eq!(counts(&directory), (vec![1, 2], 0), "a reader leaves it for later");
    let mut log = Log::open(&directory, limits(1 << 20), at(2)).unwrap();
    log.write(&line(4), at(3)).unwrap();
    assert_eq!(counts(&directory), (vec![1, 2, 4], 0));
    // Damage in the middle is nobody's to mend, and hides nothing else.
    file.write_all(b"{\"half\n").unwrap();
    log.write(&line(5), at(4)).unwrap();
    assert_eq!(counts(&directory), (vec![1, 2, 4, 5], 1));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_reader_goes_on_where_it_was_while_files_come_and_go() {
    let directory = place("follow");
    let mut log = Log::open(&directory, limits(LEAST * 4), at(0)).unwrap();
    let (mut lines, mut seen) = (Lines::of(&directory), Vec::new());
    for count in 0..1000 {
        log.write(&line(count), at(1)).unwrap();
        if count % 7 == 0 {
            lines
                .read(|line| {
                    if let Line::Note(note) = line {
                        seen.push(note.count)
                    }
                })
                .unwrap();
        }
    }
    lines
        .read(|line| {
            if let Line::Note(note) = line {
                seen.push(note.count)
            }
        })
        .unwrap();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    let mut later = Lines::of(&directory);
    later.skip().unwrap();
    log.write(&line(1000), at(2)).unwrap();
    let mut news = Vec::new();
    later
        .read(|line| {
            if let Line::Note(note) = line {
                news.push(note.count)
            }
        })
        .unwrap();
    assert_eq!(news, [1000]);
    remove(&directory).unwrap();
    assert!(!directory.exists());
    remove(&directory).unwrap();
}

#[test]
fn a_disk_that_takes_nothing_is_named_with_a_cure() {
    let directory = place("disk");
    fs::write(&directory, b"no directory").unwrap();
    let error = Log::open(&directory, limits(1 << 20), at(0)).unwrap_err().to_string();
    assert!(error.contains("--flow-log") && error.contains("--flow-log-size 0"), "{error}");
    fs::remove_file(directory).unwrap();
}

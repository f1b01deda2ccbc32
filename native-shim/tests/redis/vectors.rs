//! The vectors of limits, asked of the script in Redis.

use redis::Script;
use tidegate_core::limit::script::{self, Told};
use tidegate_core::limit::wire::{self, Question};

use crate::servers::{Server, can_run};

const VECTORS: &str = include_str!("../../../tests/vectors/limits.txt");

#[test]
fn the_script_answers_as_the_vectors_say() {
    if !can_run() {
        return;
    }
    let server = Server::start(&[]);
    let client = redis::Client::open(format!("redis://{}/", server.address())).unwrap();
    let mut connection = client.get_connection().unwrap();
    let script = Script::new(script::CHARGE);
    let mut counter = "";
    let mut asked = 0;
    for line in VECTORS.lines() {
        let Some((question, answer)) = line.split_once(" ->") else {
            counter = line;
            continue;
        };
        let question = Question::read(question).unwrap();
        let mut arguments = script::arguments(&[Told::of_question(&question)], question.now, None);
        // The times of the vectors are not those of the server, so nothing may expire.
        "100000000000000".clone_into(&mut arguments[3]);
        let mut invocation = script.prepare_invoke();
        invocation.key(counter);
        for argument in arguments {
            invocation.arg(argument);
        }
        let (_, found): (u64, String) = invocation.invoke(&mut connection).unwrap();
        let state = script::read_state(&found);
        let (_, said) = question.act(state);
        assert_eq!(wire::write_answer(&said), answer, "{counter}: {line}");
        asked += 1;
    }
    assert!(asked > 500, "{asked}");
}

//! The examples of a text in Markdown: a block `bash`, and the answer that the block `http` behind
//! it shows.

use crate::answer::Answer;

pub struct Example {
    /// Where it begins.
    pub line: usize,
    pub script: String,
    pub answer: Answer,
}

pub struct Block {
    pub line: usize,
    /// What stands behind the backticks.
    pub language: String,
    pub text: String,
}

/// Every block `bash` has its answer and every answer its block; blocks of other languages are none
/// of ours.
pub fn examples(markdown: &str) -> Vec<Example> {
    let mut blocks = blocks(markdown)
        .into_iter()
        .filter(|block| block.language == "bash" || block.language == "http");
    let mut examples = Vec::new();
    while let Some(script) = blocks.next() {
        assert_eq!(script.language, "bash", "line {}: an answer without its command", script.line);
        let answer = blocks.next().filter(|block| block.language == "http");
        let answer =
            answer.unwrap_or_else(|| panic!("line {}: a command without its answer", script.line));
        examples.push(Example {
            line: script.line,
            script: script.text,
            answer: Answer::parse(&answer.text),
        });
    }
    examples
}

/// Every block, in sequence.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in markdown.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    line: number + 1,
                    language: language.to_owned(),
                    text: String::new(),
                })
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

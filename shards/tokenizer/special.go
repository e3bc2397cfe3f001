package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// apertusTokens are the added tokens of Apertus at their own ids 0 … 72. Of the
// reserve slots in between only the gap 4 … 13 is kept, and none after 72.
// (Apertus technical report, section 2.2 and appendix I.)
var apertusTokens = func() []string {
	names := []string{"<unk>", "<s>", "</s>", "<pad>"}
	for id := 4; id <= 13; id++ {
		names = append(names, fmt.Sprintf("<SPECIAL_%d>", id))
	}
	return append(names,
		`\begin{`, `\end{`, `\text{`, `\boxed{`, // 14 … 17, not special
		"<filename>", "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", // 18
		"<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>", // 23
		"<commit_before>", "<commit_msg>", "<commit_after>", "<reponame>", // 28
		"<think>", "</think>", "<answer>", "</answer>", // 32
		ibanPlaceholder, emailPlaceholder, ipPlaceholder, // 36
		"<file_sep>", "<code_to_intermediate>", "<intermediate_to_code>", // 39
		"<pr>", "<pr_status>", "<pr_is_merged>", "<pr_base>", "<pr_file>", "<pr_base_code>", // 42
		"<pr_diff>", "<pr_diff_hunk>", "<pr_comment>", "<pr_event_id>", "<pr_review>", // 48
		"<pr_review_state>", "<pr_review_comment>", "<pr_in_reply_to_review_id>", // 53
		"<pr_in_reply_to_comment_id>", "<pr_diff_hunk_comment_line>", // 56
		"<|fim_begin|>", "<|fim_hole|>", "<|fim_end|>", // 58
		"<|system_start|>", "<|system_end|>", "<|developer_start|>", "<|developer_end|>", // 61
		"<|user_start|>", "<|user_end|>", "<|assistant_start|>", "<|assistant_end|>", // 65
		"<|inner_prefix|>", "<|inner_suffix|>", "<|tools_prefix|>", "<|tools_suffix|>", // 69
	)
}()

// What masking leaves in place of personal data; ids 36, 37 and 38.
const (
	ibanPlaceholder  = "<iban-pii>"
	emailPlaceholder = "<email-pii>"
	ipPlaceholder    = "<ip-pii>"
)

// inlineSpecial reports whether text may name the special token. The PII
// placeholders steer nothing, so a document that writes one itself does no harm.
func inlineSpecial(token string) bool {
	return token == ibanPlaceholder || token == emailPlaceholder || token == ipPlaceholder
}

// apertusAdded returns the added tokens for ids 0 … 72.
func apertusAdded() []addedToken {
	added := make([]addedToken, len(apertusTokens))
	for id, name := range apertusTokens {
		added[id] = addedToken{id: int32(id), special: !strings.HasPrefix(name, `\`)}
	}
	return added
}

// literals are the added tokens that are recognised in text, ready for search.
type literals struct {
	list   []literal // longest first
	starts [256]bool // bytes with which one begins
}

type literal struct {
	text string
	id   int32
}

func (l *literals) add(text string, id int32) {
	l.list = append(l.list, literal{text, id})
	l.starts[text[0]] = true
}

func (l *literals) finish() {
	slices.SortFunc(l.list, func(a, b literal) int {
		return cmp.Or(cmp.Compare(len(b.text), len(a.text)), cmp.Compare(a.text, b.text))
	})
}

// find returns where the first literal of text begins, its length and its id;
// len(text), 0, 0 if there is none.
func (l *literals) find(text string) (at, length int, id int32) {
	if len(l.list) == 0 {
		return len(text), 0, 0
	}
	for i := range len(text) {
		if !l.starts[text[i]] {
			continue
		}
		for _, lit := range l.list {
			if strings.HasPrefix(text[i:], lit.text) {
				return i, len(lit.text), lit.id
			}
		}
	}
	return len(text), 0, 0
}

package build

import (
	"math"
	"unicode/utf8"

	"github.com/abadojack/whatlanggo"
)

// languageSample bounds the text looked at, in bytes.
const languageSample = 16 << 10

// Language is a label: what a text is most likely written in.
type Language struct {
	Code       string  // ISO 639-3, "und" if undetermined
	Script     string  // Unicode script name, "" if there are no letters
	Confidence float32 // 0 … 1 in steps of 1/1000
}

// Identify labels a text by whatlanggo v1.0.1 on its first 16 KiB. Where the library cannot decide between two languages
// it says confidence 0, and which of them it names depends on chance; the label is then "und".
func Identify(text string) Language {
	if len(text) > languageSample {
		end := languageSample
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	info := whatlanggo.Detect(text)
	l := Language{Code: "und", Script: whatlanggo.Scripts[info.Script]}
	if info.Script != nil && l.Script == "" {
		l.Script = "Hiragana" // the library's own table for both kana
	}
	if code := info.Lang.Iso6393(); code != "" && info.Confidence > 0 {
		l.Code = code
		l.Confidence = float32(math.Round(info.Confidence*1000) / 1000)
	}
	return l
}

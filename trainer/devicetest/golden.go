package devicetest

// golden are the SHA-256 of each result as little-endian float32.
var golden = map[string]string{
	"add":                          "3236be66ecc271b9ffd595d990295a388392e8b269d806384d558196bb9d4bbf",
	"attention":                    "768b4862e89aeffb5009c3e1ac9b377ac3411c47886392193d4faaae3128f8e3",
	"attention backward":           "c0a9a2ace2a0f5a60b60d0de99bc60c8df820b10e59c427632815fd67c2f1f46",
	"batches":                      "3b5285adfbb51ea30e6b3ecb661de399380031f02d1cba38be5c5f9a51f709a1",
	"cross entropy":                "47b8d2d7c3cbc64106dd3892a377d0dc39af77be7ea5df71a270e0866eed6a18",
	"gather":                       "6ea2b87a964aa06ec1467ee992154c3b094e032b2af10ded4656e3bd486103f0",
	"logits":                       "e592b59720fcabc74f166027e550a5af911278bc4fb43ca9eb469df7284db838",
	"matmul 1x1x1":                 "1311eade18c7e6af93d31b04e046709087cd70df9fcbd6b399e162cf43d54d74",
	"matmul 64x96x64":              "b94efc339ce805d9dad6702498ce3e9e9c934ab77660187ead39eb6b1c05160b",
	"matmul 70x50x129":             "7a9b3580d38dc81d736e9290b7440a77f1399a4fc60a7b535a91d58b408d24b6",
	"matmul 7x17x33":               "5ec051c9c6aa31351f36154926a949343d525b4a55a5a613d98edce63465b42a",
	"rmsnorm":                      "b095504d94f40d30a21c3ca979bb969f3f0d75af195066b3134a30dc1964a52e",
	"rmsnorm backward":             "bff1f16fed3f03236dea9bd96ef846c4eb69c1dbef18a54e547ea8c93d5a566b",
	"rotate":                       "7c311ceb92e3ee17cfa4631c45c04fff533bc259e97f2c07f4610e99cffda516",
	"scatter":                      "d11736febe3d2683e336136c30ad5e84886a20b1a423d0909a37761a6bf02023",
	"step":                         "be542ae07b58764cff4f663c8f3604207a6a444600766e7d795420a09cd8d95f",
	"step of a million parameters": "d81817034d8a5b7d75bde6995993500d543e5535d3a9e766bc45af45f06ac7ea",
	"xielu":                        "db54be34a81e04f261042792a154a7c68aa6c5b3d4568b049aacb5970a9f5084",
	"xielu backward":               "9632c4320129560895901677d1fbcf05a779e0519fb9c57d2a454610d8eebffb",
}
